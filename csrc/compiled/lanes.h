// The numbers that the C++ loops of torch.compile hold: at::vec::Vectorized<float>, VectorizedN of
// it, or one float. The generated file has included them before, if it uses any.
#pragma once

#include <array>
#include <bit>

#include "../simd/vec.h"

namespace activations_ext::compiled {

using V = cpu::Vec<float>;

// For representations other than V: each is computed as a V.
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

// The last numbers of a loop have the same bits as in a full register.
template <>
struct As<float> {
  template <class F, class... L>
  static float map(F f, L... lanes) {
    return f(V(double(lanes))...).native[0];
  }
};

// The function of each number.
template <V (*kFunction)(V), class Lanes>
inline Lanes of(const Lanes& x) {
  return As<Lanes>::map(kFunction, x);
}

}  // namespace activations_ext::compiled
