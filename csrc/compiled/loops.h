// What the C++ loops that torch.compile generates call: one pass of an activation over the numbers
// in a register, by the same formulas as the kernels. activations_ext/_inductor.py writes the
// calls:
//
//   auto tmp3 = activations_ext::compiled::call<"elu", activations_ext::Pass::kForward, float>(
//       {1.0}, tmp2);
//
// The generated file has included torch's vectors before, if it uses any.
#pragma once

#include <algorithm>
#include <bit>
#include <string_view>
#include <tuple>

#include "../simd/vec.h"
// The activations after the vectors: scalars have no argument-dependent lookup. Without
// cpu/shortcuts.h, whose polynomials cover an interval around 0: in a chain most registers hold a
// number outside it, and would be computed both ways.
#include "../activations/all.h"
#include "../contract/evaluate.h"
#include "../simd/mills.h"
#if defined(__AVX2__)
#include "../simd/exp_by_steps.h"
#include "../simd/tanh_octaves.h"
#endif
#include "lanes.h"

// Functions whose formula is slow without the kernels' shortcut.
namespace activations_ext::cpu {
inline Vec<float> value_of(const Mish& mish, Vec<float> x) { return mish.short_value(x); }
#if defined(__AVX2__)
inline V value_of(const GELU&, V x) { return gelu_by_mills(x); }
inline V slope_of(const GELU&, V x) { return gelu_slope_by_mills(x); }
#endif
}  // namespace activations_ext::cpu

namespace activations_ext::compiled {

// A text as a template argument.
template <std::size_t kSize>
struct Name {
  char text[kSize];
  consteval Name(const char (&given)[kSize]) { std::copy_n(given, kSize, text); }
};

template <std::size_t kSize>
consteval int index_of(const Name<kSize>& name) {
  int index = 0, found = -1;
  Activations::for_each([&]<class A>() {
    if (std::string_view(A::kName) == name.text) found = index;
    ++index;
  });
  return found;
}

template <int kIndex, class List>
struct At;
template <int kIndex, class... A>
struct At<kIndex, TypeList<A...>> : std::tuple_element<kIndex, std::tuple<A...>> {};
template <Name kName>
using Named = typename At<index_of(kName), Activations>::type;

// The activation of these parameters for tensors of S. A bound is compared with what S can hold.
template <class A, class S>
constexpr A make(Parameters<A> parameters) {
  for (std::size_t i = 0; i < kArity<A>; ++i) {
    if (A::kParameters[i].role == Role::kBound) parameters[i] = S(float(parameters[i]));
  }
  return std::apply([](auto... parameter) { return A{parameter...}; }, parameters);
}

template <Name kName, Pass kPass, class S, class Lanes>
inline Lanes call(Parameters<Named<kName>> parameters, const Lanes& a, const Lanes& b) {
  using A = Named<kName>;
  const A activation = make<A, S>(parameters);
  const auto pass = [&](V x, V y) -> V {
    constexpr bool kCurves = kPass == Pass::kCurvature || kPass == Pass::kCurvatureOfResult;
    if constexpr (kCurves && !kCurved<A>)
      return V(0.0);
    else
      return evaluate<kPass>(activation, x, y);
  };
  return As<Lanes>::map(pass, a, b);
}
template <Name kName, Pass kPass, class S, class Lanes>
inline Lanes call(Parameters<Named<kName>> parameters, const Lanes& a) {
  return call<kName, kPass, S>(parameters, a, a);
}

}  // namespace activations_ext::compiled
