// torch's elementary functions for the C++ loops that torch.compile generates, in place of Sleef's:
//
//   auto tmp3 = activations_ext::compiled::of<activations_ext::compiled::exp>(tmp2);
//
// For AVX2 and AVX-512.
#pragma once

#include "lanes.h"
// The activations after the vectors: scalars have no argument-dependent lookup.
#include "../activations/sigmoid.h"
#include "../activations/tanh.h"
#include "../simd/erf_pieces.h"
#include "../simd/mills.h"
#include "../simd/tanh_octaves.h"

namespace activations_ext::compiled {

// Registers that hold a mask's −∞ skip the path for subnormal results.
inline V exp(V x) {
  if constexpr (kScalesAtOnce<V>) return activations_ext::exp(x);
  const auto is_zero = x < V(-104.0);
  if (!any(is_zero)) return activations_ext::exp(x);
  return where(is_zero, V(0.0), activations_ext::exp(where(is_zero, V(0.0), x)));
}
inline V sigmoid(V x) { return logistic(x); }
inline V tanh(V x) { return value_of(Tanh{}, x); }

// x = n + f with integral n and |f| ≤ ½: 2ⁿ·e^(f·ln 2).
inline V exp2(V x) {
  const V clamped = at_most(at_least(x, -160.0), 130.0);
  const V shifted = clamped + V(kShift), n = shifted - V(kShift);
  const V result = grown(V(1.0), (clamped - n) * V(0.693147180559945309));
  if constexpr (!kScalesAtOnce<V>) {
    if (!any(abs(x) > V(126.0))) return result * power_of_two(shifted);
  }
  return scale_by_power_of_two(result, n);
}

// eˣ − 1 = 2ⁿ·(eʳ − 1) + (2ⁿ − 1), in halves: 2ⁿ overflows before the result.
inline V expm1(V x) {
  const auto reduced = reduce(at_most(at_least(x, -20.0), 89.0));
  const V half_power = power_of_two(reduced.shifted - V(1.0));
  const V half = madd(half_power, growth(reduced.r), half_power - V(0.5));
  return where(abs(x) < V(0x1p-25), x, half + half);
}

// What log and log1p have in common: `result` for 0 < argument < ∞.
inline V log_of(V argument, V result) {
  const V at_ends = where(argument == V(0.0), -infinity<V>(), argument);  // ∞ and NaN stay
  const auto ordinary = (argument > V(0.0)) & (argument < infinity<V>());
  return where(ordinary, result, where(argument < V(0.0), V(NAN), at_ends));
}

inline V log(V x) {
  const auto subnormal = x < V(0x1p-126);
  const auto [m, exponent] = split(where(subnormal, x * V(0x1p23), x));
  const V n = where(subnormal, exponent - V(23.0), exponent);
  return log_of(x, log_of_parts(m - V(1.0), n));
}

// log(u), and what rounding 1 + x to u has lost: m·2ⁿ = u.
inline V log1p(V x) {
  const V u = x + V(1.0), rounded = u - x;
  const V lost = (x - (u - rounded)) + (V(1.0) - rounded);
  const auto [m, n] = split(u);
  const V scaled = lost * power_of_two(V(kShift) - at_most(n, 127.0));
  const V result = log_of(u, log_of_parts((m - V(1.0)) + scaled, n));
  return where(abs(x) < V(0x1p-25), x, result);
}

inline V erf(V x) { return copysign(cpu::erf_by_pieces(at_most(abs(x), 3.999)), x); }

// 2·Φ(−a·√2) of a = |x|, and the difference from 2 on the left.
inline V erfc(V x) {
  const V a = at_most(abs(x), 10.5);
  const V ratio = cpu::mills_ratio(a * V(1.41421356237309505));
  const V tail = exp_times(ratio + ratio, exact_product(a, -a));
  return where(x < V(0.0), V(2.0) - tail, tail);
}

}  // namespace activations_ext::compiled
