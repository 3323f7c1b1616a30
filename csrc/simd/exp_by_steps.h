// eˣ from a table of powers of two, each in two parts: 0.6 ULP for |x| ≤ 87, in the time of the
// formula whose result is within 1.05.
#pragma once

#include "../activations/exp.h"
#include "pieces.h"

namespace activations_ext::cpu {

// 2^(i/kSteps)
template <int kSteps>
struct PowersOfTwo {
  static constexpr double kSixteenths[] = {
      1.0,
      1.04427378242741384,
      1.09050773266525766,
      1.13878863475669165,
      1.18920711500272107,
      1.24185781207348405,
      1.29683955465100967,
      1.35425554693689273,
      1.41421356237309505,
      1.47682614593949931,
      1.54221082540794082,
      1.61049033194925431,
      1.68179283050742909,
      1.75625216037329948,
      1.83400808640934246,
      1.91520656139714729,
  };
  float high[kSteps] = {}, low[kSteps] = {};

  constexpr PowersOfTwo() {
    for (int i = 0; i < kSteps; ++i) {
      const double power = kSixteenths[i * (16 / kSteps)];
      high[i] = float(power);
      low[i] = float(power - high[i]);
    }
  }
};

inline V value_of(const Exp&, V x) {
#if defined(ACTIVATIONS_EXT_AVX512)
  constexpr int kSteps = 16;
  const V within = cut_off(x);
#else
  constexpr int kSteps = 8;
  const V within = x;
#endif
  static constexpr PowersOfTwo<kSteps> kPowers;
  // x = n·(ln 2/kSteps) + r, the bits of n as in `reduce`
  constexpr double kShiftOfSteps = kShift + 127.0 * (kSteps - 1);
  const V shifted = madd(within, V(1.44269504088896341 * kSteps), V(kShiftOfSteps));
  const V n = shifted - V(kShiftOfSteps);
  const V r = madd(n, V(2.12194440e-4 / kSteps), madd(n, V(-0.693359375 / kSteps), within));
  // eʳ − 1 by its series up to r⁴, of which the cubic term has its share of r⁵/120 (Chebyshev)
  constexpr double kMost = 0.34657359027997264 / kSteps, kCubic = 1.0 / 6 + kMost * kMost / 96;
  const V excess = madd(polynomial(r, 0.5, kCubic, 1.0 / 24) * r, r, r);
  const V high = lookup<0>(kPowers.high, shifted), low = lookup<0>(kPowers.low, shifted);
  const V mantissa = high + madd(high, excess, low);
#if defined(ACTIVATIONS_EXT_AVX512)
  return scale_by_power_of_two(mantissa, n * V(1.0 / kSteps));  // rounds the exponent down
#else
  const auto steps = bit_cast_lanes<Mask<float>::Native>(shifted.native);
  const V result = mantissa * V(bit_cast_lanes<V::Native>((steps >> 3) << 23));
  const auto far = abs(x) > V(87.0);
  return any(far) ? where(far, exp(x), result) : result;
#endif
}

}  // namespace activations_ext::cpu
