#pragma once

#include <ATen/core/Reduction.h>
#include <ATen/core/Tensor.h>

namespace activations_ext {

// Cross-entropy of plain tensors with a class for each row, without weights or smoothing: the usual
// call, in one step. Returns an undefined tensor for other arguments, which need row_statistics.
at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& target, int64_t ignore_index,
                         at::Reduction::Reduction reduction);

}  // namespace activations_ext
