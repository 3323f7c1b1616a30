#pragma once

#include <ATen/core/Tensor.h>

namespace activations_ext {

// A seed from torch's generator on the CPU, the one that torch.randint(−2⁶³, 2⁶³ − 1, ()) draws;
// undefined if something intercepts the call.
at::Tensor drawn_seed();

// The operators, through the dispatcher. `seed` is an int64 tensor without dimensions.
at::Tensor rrelu_with_seed(const at::Tensor& input, const at::Tensor& seed, double lower,
                           double upper);
at::Tensor& rrelu_with_seed_(at::Tensor& input, const at::Tensor& seed, double lower, double upper);
at::Tensor shift_dropout_with_seed(const at::Tensor& input, const at::Tensor& seed, double p,
                                   double minimum);
at::Tensor& shift_dropout_with_seed_(at::Tensor& input, const at::Tensor& seed, double p,
                                     double minimum);

}  // namespace activations_ext
