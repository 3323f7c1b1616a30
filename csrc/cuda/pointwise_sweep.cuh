// Pointwise activations on CUDA: one or two inputs, one output, any activation, any pass.
#pragma once

#include "../activations/all.h"
#include "../contract/evaluate.h"
#include "shortcuts.cuh"
#include "sweep.cuh"

namespace activations_ext::cuda {

constexpr int inputs_of(Pass pass) { return pass == Pass::kForward ? 1 : 2; }

// out = pass(a) or pass(a, b). To be launched with plan.blocks().
template <Pass kPass, class A, class S>
__global__ void pointwise(A activation, Outputs<S, 1> out, Inputs<S, inputs_of(kPass)> in,
                          Plan plan) {
  if constexpr (kPass == Pass::kForward) {
    const auto value = [&](S x) {
      const auto number = widened(x);
      return rounded<S>(evaluate<kPass>(activation, number, number));
    };
    sweep(value, out, in, plan);
  } else {
    const auto product = [&](S x, S y) {
      return rounded<S>(evaluate<kPass>(activation, widened(x), widened(y)));
    };
    sweep(product, out, in, plan);
  }
}

}  // namespace activations_ext::cuda
