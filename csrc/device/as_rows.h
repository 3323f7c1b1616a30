// Tensors as rows of classes, for the launchers of every device.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/SmallVector.h>

#include <vector>

#include "launchers.h"
#include "layout.h"
#include "row_job.h"

namespace activations_ext {

// Tensors of one shape as matrices of rows × classes. Rows are numbered in the order of the indices
// without `dim`. A tensor that needs more than two strides for that is copied first.
struct AsRows {
  template <class T>
  using Few = c10::SmallVector<T, 4>;  // without an allocation
  RowShape shape;
  Few<at::Tensor> tensors;
  Few<RowLayout> layouts;

  AsRows(Few<at::Tensor> of, int64_t dim);

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

// A job of the row_statistics kernels, and the tensors that own its memory.
struct StatisticsJob {
  AsRows as_rows;
  at::Tensor target, class_weights;
  StatisticsRows rows;

  // `more` is an output in the shape of the logits, or undefined. The class weights are
  // padded with `padding` zeros.
  StatisticsJob(const RowsOfLogits& of, const at::Tensor& more, bool expected, int64_t padding);

  // Tensors for the requested statistics, and their addresses.
  RowStatisticsTensors empty_results(bool argmax) const;
  static StatisticsResults results(const RowStatisticsTensors& row);

  // The last matrix is the output.
  StatisticsGradient gradient(const RowStatisticsTensors& row, const RowStatisticsTensors& grad,
                              bool stream);

 private:
  at::Tensor weight_;
  c10::DimVector sizes_;  // of the logits without `dim`
  std::vector<at::Tensor> alive_;
};

}  // namespace activations_ext
