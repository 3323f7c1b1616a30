// Pointwise activations on the CPU: one or two inputs, one output, any activation, any pass.
#pragma once

#include "../activations/all.h"
#include "../contract/evaluate.h"
#include "kernels.h"
#include "shortcuts.h"
#include "sweep.h"

namespace activations_ext::cpu {

template <class A, class S, Pass kPass>
[[gnu::flatten]] void pointwise(const void* activation, char* const* operands, int64_t count,
                                bool stream) {
  // A copy, whose parameters the compiler keeps in registers.
  const A local = *static_cast<const A*>(activation);
  if constexpr (kPass == Pass::kForward) {
    map(Arrays<S, 1, 1>(operands), count, stream,
        [local](auto x) { return evaluate<kPass>(local, x, x); });
  } else {
    map(Arrays<S, 1, 2>(operands), count, stream,
        [local](auto x, auto y) { return evaluate<kPass>(local, x, y); });
  }
}

template <class S>
void fill_table(ElementwiseKernel (&table)[Activations::kSize][kNumbers][kPasses], Number number) {
  Activations::for_each([&]<Activation A>() {
    auto& passes = table[Activations::index_of<A>()][int(number)];
    const auto add = [&]<Pass kPass>() { passes[int(kPass)] = &pointwise<A, S, kPass>; };
    for_each_pass<A>(add);
  });
}

}  // namespace activations_ext::cpu
