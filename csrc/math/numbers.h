// What the maths asks of a number type, for scalars; simd/vec.h has the same for SIMD vectors.
//
// Include this before the activations: scalars have no argument-dependent lookup, so their
// `where`, `abs`, `madd`, … must already be visible. Everything is constexpr so that nvcc may
// compile it for the device (--expt-relaxed-constexpr).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace activations_ext {

// --- the number types -------------------------------------------------------------------------

template <class T, class = void>
struct NumberOf {
  using type = T;
};
template <class T>
struct NumberOf<T, std::void_t<typename T::Number>> {
  using type = typename T::Number;
};
template <class T>
constexpr bool kIsFloat = std::is_same_v<typename NumberOf<T>::type, float>;

// scale_by_power_of_two is one instruction.
template <class T>
constexpr bool kScalesAtOnce = false;

// Results are rounded to fewer digits than T has: no step needs a second part (Pair in math.h).
template <class T>
constexpr bool kRoundsLater = false;

constexpr int32_t kRootOfHalf = 0x3f3504f3;  // the bits of √½

template <class T>
constexpr T infinity() {
  return T(std::numeric_limits<double>::infinity());
}

// --- what simd/vec.h has for vectors, for scalars ------------------------------------------------

template <class T>
concept Scalar = std::is_floating_point_v<T>;

template <Scalar T>
constexpr T where(bool condition, T yes, T no) {
  return condition ? yes : no;
}
constexpr bool any(bool condition) { return condition; }
template <Scalar T>
constexpr T abs(T x) {
  return std::fabs(x);
}
template <Scalar T>
constexpr T copysign(T magnitude, T sign) {
  return std::copysign(magnitude, sign);
}
template <Scalar T>
constexpr T fma(T a, T b, T c) {
  return std::fma(a, b, c);
}
template <Scalar T>
constexpr T madd(T a, T b, T c) {
  return std::fma(a, b, c);
}
// 2ⁿ for −126 ≤ n ≤ 127, and 0 for −127, of a number whose last bits are n + 127 (kShift in
// math.h).
constexpr float power_of_two(float shifted) {
  return std::bit_cast<float>(std::bit_cast<uint32_t>(shifted) << 23);
}
constexpr float scale_by_power_of_two(float x, float n) { return std::ldexp(x, int(n)); }

// x = m·2ⁿ with √½ ≤ m < √2, for a positive normal number.
template <class T>
struct Split {
  T m, n;
};
constexpr Split<float> split(float x) {
  const int32_t bits = std::bit_cast<int32_t>(x);
  const int32_t n = (bits - kRootOfHalf) >> 23;
  return {std::bit_cast<float>(bits - n * (1 << 23)), float(n)};
}
// NaN stays NaN in both.
template <Scalar T>
constexpr T at_least(T x, double low) {
  return x < T(low) ? T(low) : x;
}
template <Scalar T>
constexpr T at_most(T x, double high) {
  return x > T(high) ? T(high) : x;
}
// The C library's functions, for number types without polynomials here.
constexpr double library_exp(double x) { return std::exp(x); }
constexpr double library_log(double x) { return std::log(x); }
constexpr double library_expm1(double x) { return std::expm1(x); }
constexpr double library_log1p(double x) { return std::log1p(x); }
constexpr double library_erfc(double x) { return std::erfc(x); }

// e⁻ᵃ is 0 for every a from here on, a·e⁻ᵃ as well.
template <class T>
constexpr double kZeroFrom = kIsFloat<T> ? 160.0 : 760.0;

}  // namespace activations_ext
