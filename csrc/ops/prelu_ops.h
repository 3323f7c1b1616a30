#pragma once

#include <ATen/core/Tensor.h>

namespace activations_ext {

// The operator, through the dispatcher.
at::Tensor prelu(const at::Tensor& input, const at::Tensor& weight);

}  // namespace activations_ext
