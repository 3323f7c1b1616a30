#pragma once

#include <ATen/core/Reduction.h>
#include <ATen/core/Tensor.h>

namespace activations_ext {

// Cross-entropy of plain tensors with a class for each row, without weights or smoothing: the usual
// call, in one step. Undefined where the arguments are others; then it is to be made of the
// operator row_statistics.
at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& target, int64_t ignore_index,
                         at::Reduction::Reduction reduction);

}  // namespace activations_ext
