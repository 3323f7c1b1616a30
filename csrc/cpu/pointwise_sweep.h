// The pointwise sweep on the CPU: one or two inputs, one output, any activation, any pass.
#pragma once

#include <algorithm>

#include "kernels.h"
#include "shortcuts.h"
#include "storage.h"

namespace activations_ext::cpu {

// What one pass computes of the inputs a and b.
template <Pass kPass, class A, class V>
inline V evaluate(const A& activation, V a, V b) {
  const auto times_slope = [a](V slope) {
    if constexpr (kGated<A>) return where(slope == V(0.0), V(0.0), a * slope);
    return a * slope;
  };
  if constexpr (kPass == Pass::kForward) return value_of(activation, a);
  if constexpr (kPass == Pass::kBackward) return times_slope(slope_of(activation, b));
  if constexpr (kPass == Pass::kBackwardOfResult) return times_slope(activation.slope_of_result(b));
  if constexpr (kPass == Pass::kCurvature) return a * activation.curvature(b);
  if constexpr (kPass == Pass::kCurvatureOfResult) return a * activation.curvature_of_result(b);
}

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
    add.template operator()<Pass::kForward>();
    if constexpr (kFromInput<A>) add.template operator()<Pass::kBackward>();
    if constexpr (kFromInput<A> && kCurved<A>) add.template operator()<Pass::kCurvature>();
    if constexpr (kFromResult<A>) add.template operator()<Pass::kBackwardOfResult>();
    if constexpr (kFromResult<A> && kCurved<A>) add.template operator()<Pass::kCurvatureOfResult>();
  });
}

}  // namespace activations_ext::cpu
