// The formulas of the activations on torch's operators.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "../kinds/kind.h"

namespace activations_ext {

// For the graphs of torch.compile: what one pass computes of a and b (evaluate.h); `name` is the
// activation's. Numbers of 16 bits are computed in float32 and rounded once.
at::Tensor formula(const std::string& name, Pass pass, const std::vector<double>& parameters,
                   const at::Tensor& a, const at::Tensor& b);

// grad_output · ∂slope/∂saved, to be differentiated any number of times.
at::Tensor curvature_formula(const Kind& kind, const at::Tensor& grad_output,
                             const at::Tensor& saved, const Values& values, bool of_result);

}  // namespace activations_ext
