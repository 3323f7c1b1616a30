// The formulas of the activations on torch's operators, for the graphs of torch.compile.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "../activation.h"

namespace activations_ext {

// What one pass computes of a and b (evaluate.h); `name` is the activation's. Numbers of 16 bits
// are computed in float32 and rounded once.
at::Tensor formula(const std::string& name, Pass pass, const std::vector<double>& parameters,
                   const at::Tensor& a, const at::Tensor& b);

}  // namespace activations_ext
