// The arguments of the row kernels, on any device: where everything is in memory.
#pragma once

#include <cstdint>

#include "../losses/logit_map.h"
#include "../losses/smoothing.h"

namespace activations_ext {

// A matrix of rows × classes in memory, in elements: row r starts at r / inner · outer_stride +
// r % inner · inner_stride.
struct RowShape {
  int64_t rows, inner, classes;
};
struct RowLayout {
  int64_t outer_stride, inner_stride, class_stride;
};
template <class Pointer>
struct Matrix {
  Pointer data;
  RowLayout at;
};

// What both passes of the statistics of rows read (losses/row_statistics.h). `target` has a class
// for each row, or is nullptr. The weight of a logit is that of `weights`, smoothed, times that of
// its class; without `weights` its class' alone. Arrays without a layout hold the type that
// computes.
struct StatisticsRows {
  RowShape shape;
  Matrix<const void*> logits, weights;
  const int64_t* target;
  const void* class_weights;
  Smoothing smoothing;
  int64_t ignore_index;
  LogitMap map;
  bool expected;       // the expected logit is wanted
  bool skip_ignored;   // rows without a target need no statistics: they are 0
  bool* out_of_range;  // on the CPU: becomes true if a target is neither a class nor ignore_index
};
// nullptr: not requested.
struct StatisticsResults {
  void *maximum, *log_sum, *target_logit, *weighted_sum, *expected_logit, *mass = nullptr;
  int64_t* argmax = nullptr;
};
// A gradient that is nullptr is 0. `out` may be the logits. On CUDA the gradient may be a loss'
// instead: of_loss · share for a row with a target, the number of row r being of_loss[r · step].
struct StatisticsGradient {
  const void *maximum, *log_sum, *expected_logit;
  const void *grad_log_sum, *grad_target_logit, *grad_weighted_sum, *grad_expected_logit;
  Matrix<void*> out;
  bool stream;
  const void *of_loss = nullptr, *share = nullptr;
  int64_t step = 0;
};
}  // namespace activations_ext
