#pragma once

#include <ATen/core/Tensor.h>

namespace activations_ext {

// The operators, through the dispatcher.
at::Tensor softmax(const at::Tensor& input, int64_t dim);
at::Tensor log_softmax(const at::Tensor& input, int64_t dim);

}  // namespace activations_ext
