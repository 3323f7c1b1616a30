// Elementary functions over any number type: double (the C library's), float (polynomials, about
// one ULP) and SIMD vectors of either. The polynomials' coefficients are printed by minimax.py.
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

template <class T>
constexpr T infinity() {
  return T(std::numeric_limits<double>::infinity());
}

// --- what cpu/vec.h has for vectors, for scalars ------------------------------------------------

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
// Sixteen numbers; the index is four bits of u, from kLowest upwards.
using Table = float[16];
template <int kLowest>
constexpr float lookup(const Table& table, float u) {
  return table[(std::bit_cast<uint32_t>(u) >> kLowest) & 15];
}
constexpr float scale_by_power_of_two(float x, float n) { return std::ldexp(x, int(n)); }
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
constexpr double library_expm1(double x) { return std::expm1(x); }
constexpr double library_log1p(double x) { return std::log1p(x); }
constexpr double library_erfc(double x) { return std::erfc(x); }

// x·eˣ is 0 for every x below.
template <class T>
constexpr double kUnderflow = kIsFloat<T> ? -120.0 : -760.0;

// --- helpers ----------------------------------------------------------------------------------

// c₀ + c₁x + c₂x² + …
template <class T, class... C>
constexpr T polynomial(T x, double c0, C... higher) {
  if constexpr (sizeof...(higher) == 0) {
    return T(c0);
  } else {
    return madd(polynomial(x, higher...), x, T(c0));
  }
}

// A sum of two numbers, the second smaller than the last place of the first.
template <class T>
struct Pair {
  T high, low;
};

// What rounding `value` to T's precision leaves.
template <class T>
constexpr double low_part(double value) {
  return value - double(typename NumberOf<T>::type(value));
}

// a·b exactly.
template <class T>
constexpr Pair<T> exact_product(T a, T b) {
  const T high = a * b;
  return {high, fma(a, b, -high)};
}

// a + b exactly for |a| ≥ |b| (Dekker).
template <class T>
constexpr Pair<T> ordered_sum(T a, T b) {
  const T high = a + b;
  return {high, b - (high - a)};
}

// --- exponentials -----------------------------------------------------------------------------

// x = n·ln 2 + r with integral n and |r| ≤ ln 2 / 2.
template <class T>
struct Reduced {
  T n, r;
};

template <class T>
constexpr Reduced<T> reduce(T x) {
  // Adding 1.5·2²³ leaves no bits for a fraction: the sum is rounded to an integer.
  const T shift = T(12582912.0);
  const T n = madd(x, T(1.44269504088896341), shift) - shift;
  // The first part of ln 2 has 9 bits, so that its product with n is exact even without an fma.
  return {n, madd(n, T(2.12194440e-4), madd(n, T(-0.693359375), x))};
}

template <class T>
constexpr Reduced<T> reduce(Pair<T> x) {
  const T shift = T(12582912.0);
  const T n = madd(x.high, T(1.44269504088896341), shift) - shift;
  return {n, madd(n, T(-0.693359375), x.high) + madd(n, T(2.12194440e-4), x.low)};
}

// x = n·(width·ln 2) + remainder and r = remainder/width: reduced before the division, whose
// rounding would be a relative error of the exponential.
template <class T>
struct Stretched {
  T n, r, remainder;

  constexpr Stretched(T x, double width) {
    const double bound = 89.0 * std::fabs(width);
    // Narrower than any normal number it would have an infinite inverse.
    const double inverse = 1.0 / std::copysign(std::fmax(std::fabs(width), 0x1p-126), width);
    const double period = 0.693147180559945309 * width;
    const double high = std::bit_cast<float>(std::bit_cast<uint32_t>(float(period)) & 0xffff8000u);
    const T clamped = at_most(at_least(x, -bound), bound);
    const T shift = T(12582912.0);
    n = madd(clamped, T(1.44269504088896341 * inverse), shift) - shift;
    remainder = madd(n, T(high - period), madd(n, T(-high), clamped));
    r = remainder * T(inverse);
  }
};

// (eʳ − 1 − r)/r² for |r| ≤ ln 2 / 2; with it eʳ has a relative error of 3e-9 before rounding.
template <class T>
constexpr T expm1_tail(T r) {
  return polynomial(r, 0.5000000096, 0.1666651831, 0.04166620412, 0.00836895344, 0.001395060335);
}

// eʳ − 1 for |r| ≤ ln 2 / 2
template <class T>
constexpr T growth(T r) {
  return madd(expm1_tail(r) * r, r, r);
}

// factor·2ⁿeʳ, rounded once into the subnormal numbers: the product does not suffer from the
// exponential being subnormal.
template <class T>
constexpr T exp_times(T factor, Reduced<T> x) {
  return scale_by_power_of_two(madd(factor, growth(x.r), factor), x.n);
}

// factor·eˣ. The exponent is cut off at 89, where float has reached infinity, and at −160, where it
// has reached 0 even times a factor of 10²⁴.
template <class T>
constexpr T exp_times(T factor, T x) {
  if constexpr (kIsFloat<T>) {
    return exp_times(factor, reduce(at_most(at_least(x, -160.0), 89.0)));
  } else {
    return factor * library_exp(x);
  }
}

// factor·e^(high + low) for −160 ≤ high ≤ 89
template <class T>
constexpr T exp_times(T factor, Pair<T> x) {
  if constexpr (kIsFloat<T>) {
    return exp_times(factor, reduce(x));
  } else {
    return factor * library_exp(x.high + x.low);
  }
}

// The same for a factor of twice the precision: little more than the last rounding is left.
template <class T>
constexpr T exp_times(Pair<T> factor, Pair<T> x) {
  const auto [n, r] = reduce(x);
  // factor.low·growth is left out: a fifth of an ULP at most.
  return scale_by_power_of_two(factor.high + madd(factor.high, growth(r), factor.low), n);
}

template <class T>
constexpr T exp(T x) {
  return exp_times(T(1.0), x);
}

// factor·(eˣ − 1) for x ≤ 0, with full relative accuracy near 0: factor·(2ⁿ(eʳ − 1) + (2ⁿ − 1)).
template <class T>
constexpr T expm1_times(T factor, T x) {
  if constexpr (kIsFloat<T>) {
    const auto [n, r] = reduce(at_most(at_least(x, -20.0), 0.0));  // e⁻²⁰ < half an ULP of 1
    const T scaled = scale_by_power_of_two(factor, n);
    return madd(scaled, growth(r), scaled - factor);
  } else {
    return factor * library_expm1(x);
  }
}

// factor·e^(x/width)
template <class T>
constexpr T exp_times(T factor, T x, double width) {
  if constexpr (kIsFloat<T>) {
    const Stretched<T> s(x, width);
    return exp_times(factor, Reduced<T>{s.n, s.r});
  } else {
    return factor * library_exp(x / T(width));
  }
}

// factor·width·(e^(x/width) − 1), which is factor·x near 0 without a rounding of x/width. In
// halves: 2ⁿ may overflow before the result.
template <class T>
constexpr T expm1_times(T factor, T x, double width) {
  if constexpr (kIsFloat<T>) {
    const Stretched<T> s(x, width);
    const T power = scale_by_power_of_two(T(1.0), s.n - T(1.0));
    const T grown = madd(expm1_tail(s.r) * s.r, s.remainder, s.remainder);
    const T half = madd(power, grown, T(width) * (power - T(0.5)));
    return factor * (half + half);
  } else {
    return factor * T(width) * library_expm1(x / T(width));
  }
}

// 1 + eˣ for −160 ≤ x ≤ 88
template <class T>
constexpr T one_plus_exp(Reduced<T> x) {
  const T power = scale_by_power_of_two(T(1.0), x.n);
  return madd(power, growth(x.r), power + T(1.0));
}

// numerator/(1 + e^(high + low)) for −160 ≤ high ≤ 180
template <class T>
constexpr T over_one_plus_exp(T numerator, Pair<T> x) {
  if constexpr (kIsFloat<T>) {
    // Above 80 the 1 does not count. There numerator and power are brought down, as the power would
    // overflow before the quotient underflows. An operation in `where` costs less than a choice
    // between two constants: AVX-512 does it under the mask.
    const auto large = x.high > T(80.0);
    const auto [n, r] = reduce(x);
    const T power = scale_by_power_of_two(T(1.0), where(large, n - T(40.0), n));
    const T denominator = madd(power, growth(r), T(1.0)) + power;
    return where(large, numerator * T(0x1p-40), numerator) / denominator;
  } else {
    const T e = library_exp(-abs(x.high + x.low));
    return where(x.high > T(0.0), numerator * e, numerator) / (e + T(1.0));
  }
}
template <class T>
constexpr T over_one_plus_exp(T numerator, T x) {
  const double limit = kIsFloat<T> ? 160.0 : 800.0;
  return over_one_plus_exp(numerator, Pair<T>{at_most(at_least(x, -limit), limit), T(0.0)});
}

// log(1 + e) for 0 ≤ e ≤ 1. With s = e/(2 + e) it is 2·atanh(s) = e − s·(e − s²·tail(s²)).
template <class T>
constexpr T log1p_unit(T e) {
  if constexpr (kIsFloat<T>) {
    const T s = e / (e + T(2.0));
    const T z = s * s;
    const T tail = polynomial(z, 0.6666667562, 0.3999887774, 0.2861688474, 0.214276582, 0.24300934);
    return madd(-s, madd(-z, tail, e), e);
  } else {
    return library_log1p(e);
  }
}

// --- functions that several activations share ---------------------------------------------------

// 1/(1 + e⁻ˣ)
template <class T>
constexpr T logistic(T x) {
  return over_one_plus_exp(T(1.0), -x);
}

// log(1 + eˣ)
template <class T>
constexpr T log1p_exp(T x) {
  return at_least(x, 0.0) + log1p_unit(exp(-abs(x)));
}

// (x − tanh x)/x³ of z = x² for |x| ≤ 1 is kTanhDeficit + z·tail(z).
constexpr double kTanhDeficit = 0.3333333316;
template <class T>
constexpr T tanh_deficit_tail(T z) {
  return polynomial(z, -0.133333107, 0.05396342095, -0.02182958545, 0.008697950942, -0.003206953508,
                    0.0009236091573, -0.0001428239272);
}

// 1 − tanh(a) for a ≥ 0
template <class T>
constexpr T tanh_complement(T a) {
  return T(2.0) / one_plus_exp(reduce(at_most(a + a, 60.0)));
}

template <class T>
constexpr T hyperbolic_tangent(T x) {
  if constexpr (kIsFloat<T>) {
    const T a = abs(x);
    const T z = x * x;
    const T near = madd(-a * z, madd(tanh_deficit_tail(z), z, T(kTanhDeficit)), a);
    return copysign(where(a < T(1.0), near, T(1.0) - tanh_complement(a)), x);
  } else {
    const T e = library_expm1(T(-2.0) * abs(x));
    return copysign(e / (e + T(2.0)), x);
  }
}

// σ'(x) = e/(1 + e)², e = e^(−|x|)
template <class T>
constexpr T logistic_slope(T x) {
  const T e = exp(-abs(x));
  const T inverse = T(1.0) / (e + T(1.0));
  return e * inverse * inverse;
}

// factor·e^(−a²/2) for 0 ≤ a ≤ 17. a² is kept in two parts: its rounding would cost up to 50 ULP.
template <class Factor, class T>
constexpr T exp_minus_half_square_times(Factor factor, T a) {
  return exp_times(factor, exact_product(a, T(-0.5) * a));
}

}  // namespace activations_ext
