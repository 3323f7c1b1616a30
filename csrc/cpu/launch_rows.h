// Launchers of the row sweep: softmax along a dimension of a tensor.
#pragma once

#include <ATen/core/Tensor.h>

namespace activations_ext::cpu {

// Of a floating-point tensor, into contiguous memory. `logarithm` chooses log_softmax.
at::Tensor run_softmax(const at::Tensor& input, int64_t dim, bool logarithm);
at::Tensor run_softmax_gradient(const at::Tensor& grad_output, const at::Tensor& result,
                                int64_t dim, bool logarithm);

// The rows of `logits` along `dim`. `target` (int64) has a class for each row, `weight` a number
// for each class or each logit; either may be undefined.
struct RowsOfLogits {
  at::Tensor logits, target, weight;
  int64_t dim, ignore_index;
  double softcap;
};

// One number for each row, in the shape of `logits` without `dim`; float32 unless the logits are
// float64. See losses/row_statistics.h. Undefined: what was not asked for, by a target, a weight or
// `expected`.
struct RowStatisticsTensors {
  at::Tensor maximum, log_sum, target_logit, weighted_sum, expected_logit;
};
RowStatisticsTensors run_row_statistics(const RowsOfLogits& rows, bool expected);

// Gradients that are undefined are 0. With `overwrite` the logits are the result.
at::Tensor run_row_statistics_gradient(const RowsOfLogits& rows, const RowStatisticsTensors& row,
                                       const RowStatisticsTensors& grad, bool overwrite);

}  // namespace activations_ext::cpu
