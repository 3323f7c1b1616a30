// The arguments of the divergence kernels, on any device: where everything is in memory.
#pragma once

#include "row_job.h"

namespace activations_ext {

// The kind's number in Python, too.
enum class DivergenceKind { kForward, kReverse, kJensenShannon };
constexpr int kDivergenceKinds = 3;

// A row's numbers, of the type that computes: log p = scale·x − maximum − log_sum of the student
// and of the teacher, and what the gradient needs (losses/divergence.h).
constexpr int kDivergenceStatistics = 5;

struct DivergenceRows {
  RowShape shape;
  Matrix<const void*> logits, teacher;
  DivergenceKind kind;
  double beta, scale;
  void* statistics;  // (kDivergenceStatistics, rows)
};

}  // namespace activations_ext
