// Calls of pointwise activations that bypass the dispatcher where nothing intercepts them.
#pragma once

#include <ATen/core/Tensor.h>

#include "../kinds/kind.h"

namespace activations_ext {

at::Tensor pointwise(const Kind& kind, const at::Tensor& input, const Values& values);
void pointwise_(const Kind& kind, at::Tensor& input, const Values& values);

}  // namespace activations_ext
