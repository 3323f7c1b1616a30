// Binary cross-entropy on CUDA: the losses, their sum or the gradient in one pass over the inputs.
#pragma once

#include "../losses/binary_cross_entropy.h"
#include "rows.cuh"
#include "sweep.cuh"

namespace activations_ext::cuda {

static_assert(kThreads == kRowThreads, "the sweep's blocks are teams that sum");

// f(x, target, pos_weight, weight). A weight that is not given is 1; of one, `positive` tells
// whether it is pos_weight.
template <class F, class T>
__device__ auto with_weights(const F& f, bool, T x, T target) {
  return f(x, target, T(1.0), T(1.0));
}
template <class F, class T>
__device__ auto with_weights(const F& f, bool positive, T x, T target, T given) {
  const T one(1.0);
  return f(x, target, where(positive, given, one), where(positive, one, given));
}
template <class F, class T>
__device__ auto with_weights(const F& f, bool, T x, T target, T pos_weight, T weight) {
  return f(x, target, pos_weight, weight);
}

template <class Loss, class... T>
__device__ auto value_of_loss(const Loss& loss, bool positive, T... numbers) {
  return with_weights([&](auto... x) { return loss.value(x...); }, positive, numbers...);
}
template <class Loss, class... T>
__device__ auto slope_of_loss(const Loss& loss, bool positive, T... numbers) {
  return with_weights([&](auto... x) { return loss.slope(x...); }, positive, numbers...);
}

// To be launched with plan.blocks(kThreads), as are the next three. The inputs are logits, target
// and the weights that are given.
template <class S, class Loss, int kIn>
__global__ void binary_losses(Outputs<S, 1> out, Inputs<S, kIn> in, Plan plan, bool positive,
                              Loss loss) {
  sweep([=](auto... x) { return rounded<S>(value_of_loss(loss, positive, widened(x)...)); }, out,
        in, plan);
}

template <class S, class Loss, int kIn>
__global__ void binary_sum(Inputs<S, kIn> in, Plan plan, bool positive, Loss loss,
                           double* partial) {
  // Of a few packs; double costs a GPU more.
  Compute<S> mine(0.0);
  const auto add = [&](auto... x) { mine = mine + value_of_loss(loss, positive, widened(x)...); };
  sweep(add, Outputs<S, 0>{}, in, plan);
  const double sum =
      Team<kRowThreads>::combined(double(mine), [](double a, double b) { return a + b; });
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// One block of kRowThreads: *out = the sum of all parts / divisor.
template <class S>
__global__ void binary_total(S* out, const double* partial, int64_t parts, double divisor) {
  double sum = 0.0;
#pragma unroll 4
  for (int64_t part = threadIdx.x; part < parts; part += kRowThreads) sum += partial[part];
  sum = Team<kRowThreads>::combined(sum, [](double a, double b) { return a + b; });
  if (threadIdx.x == 0) *out = rounded<S>(Compute<S>(sum / divisor));
}

// The gradient of all losses' sum times *grad_output · scale.
template <class S, class Loss, int kIn>
__global__ void binary_gradient(Outputs<S, 1> out, Inputs<S, kIn> in, Plan plan, bool positive,
                                Loss loss, const S* grad_output, double scale) {
  const Compute<S> factor = widened(*grad_output) * Compute<S>(scale);
  const auto gradient = [=](auto... x) {
    return rounded<S>(factor * slope_of_loss(loss, positive, widened(x)...));
  };
  sweep(gradient, out, in, plan);
}

// The same, where each loss has its grad_output: the first of the inputs.
template <class S, class Loss, int kIn>
__global__ void binary_gradient_of_each(Outputs<S, 1> out, Inputs<S, kIn> in, Plan plan,
                                        bool positive, Loss loss, double scale) {
  const auto gradient = [=](S grad_output, auto... x) {
    return rounded<S>(widened(grad_output) * Compute<S>(scale) *
                      slope_of_loss(loss, positive, widened(x)...));
  };
  sweep(gradient, out, in, plan);
}

}  // namespace activations_ext::cuda
