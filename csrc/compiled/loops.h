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

#include "../cpu/vec.h"
// The activations after the vectors: scalars have no argument-dependent lookup.
#include "../cpu/shortcuts.h"
#include "../evaluate.h"
#include "../registry.h"

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

using V = cpu::Vec<float>;

// Whoever keeps numbers in another way than V: each is computed as a V.
template <class Lanes>
struct As {
  static constexpr std::size_t kRegisters = sizeof(Lanes) / sizeof(V);
  static_assert(sizeof(Lanes) == kRegisters * sizeof(V));
  using Registers = std::array<typename V::Native, kRegisters>;

  template <class F, class... L>
  static Lanes map(F f, const L&... lanes) {
    return std::bit_cast<Lanes>(mapped(f, std::bit_cast<Registers>(lanes)...));
  }

 private:
  template <class F, class... R>
  static Registers mapped(F f, const R&... registers) {
    Registers result;
    for (std::size_t i = 0; i < kRegisters; ++i) result[i] = f(V(registers[i])...).native;
    return result;
  }
};

// A loop's last numbers have the bits that they would have in a register.
template <>
struct As<float> {
  template <class F, class... L>
  static float map(F f, L... lanes) {
    return f(V(double(lanes))...).native[0];
  }
};

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
