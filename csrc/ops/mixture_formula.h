// The negative log-likelihood of a mixture on torch's operators, for devices and modes without
// kernels.
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

namespace activations_ext {

// Of the operator mixture_nll; see losses/mixture.h.
struct MixtureArguments {
  at::Tensor logits, mean, scale, target;
  int64_t scale_by;
  double floor;
  auto members() { return std::tie(logits, mean, scale, target, scale_by, floor); }
};
using MixtureGradients = std::tuple<at::Tensor, at::Tensor, at::Tensor>;  // logits, mean and scale

at::Tensor mixture_formula(const MixtureArguments& of);
MixtureGradients mixture_backward_formula(const at::Tensor& grad_nll, const MixtureArguments& of);
// The standard deviations of raw scales, which Python's likelihoods ask for.
at::Tensor mixture_scale(const at::Tensor& scale, int64_t scale_by, double floor);

}  // namespace activations_ext
