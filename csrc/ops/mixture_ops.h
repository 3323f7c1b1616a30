#pragma once

#include <ATen/core/Tensor.h>

namespace activations_ext {

// The formula of mixture_nll on torch's operators, for tensors that know no others.
at::Tensor mixture_nll_by_formula(const at::Tensor& logits, const at::Tensor& mean,
                                  const at::Tensor& scale, const at::Tensor& target,
                                  int64_t scale_by, double floor);

}  // namespace activations_ext
