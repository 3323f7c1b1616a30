// Tensors as rows of classes, for the launchers of every device.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "launchers.h"
#include "layout.h"
#include "row_job.h"

namespace activations_ext {

// Tensors of one shape as matrices of rows × classes. The rows count in the order of the indices
// without `dim`; memory where that takes more than two strides is copied first.
struct AsRows {
  RowShape shape;
  std::vector<at::Tensor> tensors;
  std::vector<RowLayout> layouts;

  AsRows(std::vector<at::Tensor> of, int64_t dim);

  template <class Pointer = const void*>
  Matrix<Pointer> matrix(std::size_t i) const {
    if constexpr (std::is_same_v<Pointer, void*>)
      return {writable(tensors[i]), layouts[i]};
    else
      return {readable(tensors[i]), layouts[i]};
  }

 private:
  bool describe(int64_t dim);
};

// A job of the kernels of row_statistics, and what its pointers point to.
struct StatisticsJob {
  AsRows as_rows;
  at::Tensor target, class_weights;
  StatisticsRows rows;

  // `more` is an output in the shape of the logits, or undefined. The class weights get `padding`
  // zeros more.
  StatisticsJob(const RowsOfLogits& of, const at::Tensor& more, bool expected, int64_t padding);

  // Tensors for what was asked for, and where they are.
  RowStatisticsTensors empty_results() const;
  static StatisticsResults results(const RowStatisticsTensors& row);

  // With the last of the matrices as the output.
  StatisticsGradient gradient(const RowStatisticsTensors& row, const RowStatisticsTensors& grad,
                              bool stream);

 private:
  at::Tensor weight_;
  c10::DimVector sizes_;  // of the logits without `dim`
  std::vector<at::Tensor> alive_;
};

}  // namespace activations_ext
