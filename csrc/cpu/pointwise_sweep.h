// The pointwise sweep on the CPU: one or two inputs, one output, any activation, any pass.
#pragma once

#include <algorithm>

#include "../activations/all.h"
#include "../contract/evaluate.h"
#include "kernels.h"
#include "shortcuts.h"
#include "storage.h"

namespace activations_ext::cpu {

// One vector after another. What is left over goes through the same code in a padded buffer.
template <bool kStream, Pass kPass, class S, class A>
inline void sweep(const A& activation, S* out, const S* a, const S* b, int64_t count) {
  constexpr int64_t kLanes = ComputeVec<S>::kLanes;
  constexpr bool kTwoInputs = kPass != Pass::kForward;
  int64_t i = 0;
  if constexpr (std::is_same_v<S, BFloat16>) {
    for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
      const EvenOdd x = load_even_odd(a + i), y = kTwoInputs ? load_even_odd(b + i) : x;
      const EvenOdd z = {evaluate<kPass>(activation, x.even, y.even),
                         evaluate<kPass>(activation, x.odd, y.odd)};
      store_even_odd<kStream>(out + i, z);
    }
  }
  for (; i + kLanes <= count; i += kLanes) {
    const auto x = load(a + i);
    const auto y = kTwoInputs ? load(b + i) : x;
    store<kStream>(out + i, evaluate<kPass>(activation, x, y));
  }
  if (i < count) {
    S x[kLanes] = {}, y[kLanes] = {};
    std::copy(a + i, a + count, x);
    if (kTwoInputs) std::copy(b + i, b + count, y);
    store<false>(x, evaluate<kPass>(activation, load(x), load(kTwoInputs ? y : x)));
    std::copy(x, x + (count - i), out + i);
  }
  if constexpr (kStream) stream_fence();
}

template <class A, class S, Pass kPass>
void pointwise(const void* activation, void* out, const void* a, const void* b, int64_t count,
               bool stream) {
  // A copy, whose parameters the compiler keeps in registers.
  const A local = *static_cast<const A*>(activation);
  S* const to = static_cast<S*>(out);
  const S* const x = static_cast<const S*>(a);
  const S* const y = static_cast<const S*>(b);
  if (stream && reinterpret_cast<uintptr_t>(out) % kVectorBytes == 0) {
    sweep<true, kPass>(local, to, x, y, count);
  } else {
    sweep<false, kPass>(local, to, x, y, count);
  }
}

template <class S>
void fill_table(PointwiseKernel (&table)[Activations::kSize][kNumbers][kPasses], Number number) {
  Activations::for_each([&]<Activation A>() {
    auto& passes = table[Activations::index_of<A>()][int(number)];
    const auto add = [&]<Pass kPass>() { passes[int(kPass)] = &pointwise<A, S, kPass>; };
    for_each_pass<A>(add);
  });
}

}  // namespace activations_ext::cpu
