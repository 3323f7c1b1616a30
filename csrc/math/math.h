// Elementary functions over any number type: double (the C library's), float (polynomials) and SIMD
// vectors of either. The largest errors stated are float's, those of math_accuracy.cpp, which
// asserts them on every instruction set. The polynomials' coefficients are printed by minimax.py.
#pragma once

#include "numbers.h"

namespace activations_ext {

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
  friend constexpr Pair operator-(Pair p) { return {-p.high, -p.low}; }
  friend constexpr Pair at_most(Pair p, double limit) { return {at_most(p.high, limit), p.low}; }
};
template <class T>
constexpr T high_part(T x) {
  return x;
}
template <class T>
constexpr T high_part(Pair<T> x) {
  return x.high;
}
template <class T>
constexpr T sum(T x) {
  return x;
}
template <class T>
constexpr T sum(Pair<T> x) {
  return x.high + x.low;
}

template <class T>
constexpr T minus_abs(T x) {
  return -abs(x);
}
template <class T>
constexpr Pair<T> minus_abs(Pair<T> x) {
  const auto positive = x.high > T(0.0);
  return {where(positive, -x.high, x.high), where(positive, -x.low, x.low)};
}

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

// Φ(−a) for a ≥ 0, for types with a library_erfc; Φ is the standard normal distribution function.
template <class T>
constexpr T normal_tail(T a) {
  constexpr double kRootOfHalf = 0.70710678118654752440;
  const T z = a * T(kRootOfHalf), tail = T(0.5) * library_erfc(z);
  // What rounding z has lost, times the logarithmic derivative of erfc, nearly −2z.
  const T lost = madd(a, T(low_part<T>(kRootOfHalf)), fma(a, T(kRootOfHalf), -z));
  return madd(T(-2.0) * z * lost, tail, tail);
}

// eˣ of a number in two parts, for types with a library_exp.
template <class T>
constexpr T library_exp(Pair<T> x) {
  const auto whole = ordered_sum(x.high, x.low);  // the second part may be a part of the digits
  const T e = library_exp(whole.high);
  return madd(e, whole.low, e);
}

// --- exponentials -----------------------------------------------------------------------------

// The nearest integer n to a number is left in the last bits of their sum with 1.5·2²³, which has
// no bits for a fraction. 127 more, and those bits are the exponent of 2ⁿ (power_of_two in
// numbers.h).
constexpr double kShift = 12582912.0 + 127.0;

// x = n·ln 2 + r with integral n and |r| ≤ ln 2 / 2; shifted = n + kShift.
template <class T>
struct Reduced {
  T shifted, n, r;
};

// x − n·ln 2. The first part of ln 2 has 9 bits, so that its product with n is exact even without
// an fma.
template <class T>
constexpr T remainder_of(T x, T n) {
  return madd(n, T(2.12194440e-4), madd(n, T(-0.693359375), x));
}

template <class T>
constexpr Reduced<T> reduce(T x) {
  const T shifted = madd(x, T(1.44269504088896341), T(kShift));
  const T n = shifted - T(kShift);
  return {shifted, n, remainder_of(x, n)};
}

template <class T>
constexpr Reduced<T> reduce(Pair<T> x) {
  const T shifted = madd(x.high, T(1.44269504088896341), T(kShift));
  const T n = shifted - T(kShift);
  return {shifted, n, madd(n, T(-0.693359375), x.high) + madd(n, T(2.12194440e-4), x.low)};
}

// x = n·(width·ln 2) + remainder and r = remainder/width: reduced before the division, whose
// rounding would be a relative error of the exponential.
template <class T>
struct Stretched {
  Reduced<T> reduced;
  T remainder;

  // x is clamped to ±bound·|width|.
  constexpr Stretched(T x, double width, double bound) {
    const double end = bound * std::fabs(width);
    // Narrower than any normal number it would have an infinite inverse.
    const double inverse = 1.0 / std::copysign(std::fmax(std::fabs(width), 0x1p-126), width);
    const double period = 0.693147180559945309 * width;
    const double high = std::bit_cast<float>(std::bit_cast<uint32_t>(float(period)) & 0xffff8000u);
    const T clamped = at_most(at_least(x, -end), end);
    const T shifted = madd(clamped, T(1.44269504088896341 * inverse), T(kShift));
    const T n = shifted - T(kShift);
    remainder = madd(n, T(high - period), madd(n, T(-high), clamped));
    reduced = {shifted, n, remainder * T(inverse)};
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

// factor·eʳ
template <class T>
constexpr T grown(T factor, T r) {
  return madd(factor, growth(r), factor);
}
// The same for a factor of twice the precision: little more than the final rounding error is left.
template <class T>
constexpr T grown(Pair<T> factor, T r) {
  // factor.low·growth is left out: a fifth of an ULP at most.
  return factor.high + madd(factor.high, growth(r), factor.low);
}

// x·2ⁿ for −127 ≤ n ≤ 127, of which 2⁻¹²⁷ counts as 0
template <class T>
constexpr T scaled_within(T x, Reduced<T> by) {
  if constexpr (kScalesAtOnce<T>) return scale_by_power_of_two(x, by.n);
  return x * power_of_two(by.shifted);
}

// Exponents are clamped to [−160, 89]: at 89 float has reached infinity, and at −160 it has reached
// 0 even times a factor of 10²⁴. Pairs must lie within.
template <class T>
constexpr T cut_off(T x) {
  return at_most(at_least(x, -160.0), 89.0);
}
template <class T>
constexpr Pair<T> cut_off(Pair<T> x) {
  return x;
}

// factor·eˣ, rounded once even where it is subnormal: a subnormal exponential does not cost the
// product its digits. Factor and exponent are numbers or pairs. 1.1 ULP for any number x.
template <class Factor, class X>
constexpr auto exp_times(Factor factor, X x) {
  using T = decltype(high_part(x));
  if constexpr (kIsFloat<T>) {
    // Few exponents leave the range of 2ⁿ, and most vectors hold none that do.
    if constexpr (!kScalesAtOnce<T>) {
      if (!any(abs(high_part(x)) > T(87.0))) {
        const auto reduced = reduce(x);
        return scaled_within(grown(factor, reduced.r), reduced);
      }
    }
    const auto reduced = reduce(cut_off(x));
    return scale_by_power_of_two(grown(factor, reduced.r), reduced.n);
  } else {
    return T(sum(factor) * library_exp(x));
  }
}

// eˣ: 1.05 ULP for any x
template <class T>
constexpr T exp(T x) {
  return exp_times(T(1.0), x);
}

// eˣ in two parts, for x ≤ 88; 0 from −87.7 on. Their sum: 1.05 ULP for −87 ≤ x.
template <class T>
constexpr Pair<T> exp_in_parts(T x) {
  if constexpr (kIsFloat<T>) {
    const auto reduced = reduce(at_least(x, -88.0));
    const T power = scaled_within(T(1.0), reduced), excess = growth(reduced.r);
    const T high = madd(power, excess, power);
    return {high, madd(power, excess, power - high)};
  } else {
    return {library_exp(x), T(0.0)};
  }
}

// e⁻ᵃ for a ≥ 0: 1.05 ULP
template <class T>
constexpr T decay(T a) {
  return exp(-a);
}

// eˣ for x ≤ 0, with subnormal results flushed to 0: a third fewer instructions on AVX2. 1.05 ULP
// for −87.3 ≤ x.
template <class T>
constexpr T share(T x) {
  if constexpr (kIsFloat<T>) {
    const auto reduced = reduce(x);
    // x ≤ −126·ln 2, including −∞, for which the result so far is meaningless.
    return where(x < T(-87.33654), T(0.0),
                 (growth(reduced.r) + T(1.0)) * power_of_two(reduced.shifted));
  } else {
    return library_exp(x);
  }
}

// c·eˣ for x ≤ 16 and a power of two c, the same for all x of a type: 1.05 ULP. Of float it is so
// large that the result is normal wherever eˣ is not 0.
template <class T>
constexpr T scaled_exp(T x) {
  if constexpr (kIsFloat<T>) {
    constexpr double kRaised = 64.0;
    const T shifted = madd(x, T(1.44269504088896341), T(kShift + kRaised));
    const T r = remainder_of(x, shifted - T(kShift + kRaised));
    return where(x < T(-131.0), T(0.0), (growth(r) + T(1.0)) * power_of_two(shifted));
  } else {
    return library_exp(x);
  }
}

// factor·(eˣ − 1) for x ≤ 0, with full relative accuracy near 0: factor·(2ⁿ(eʳ − 1) + (2ⁿ −
// 1)). 1.6 ULP.
template <class T>
constexpr T expm1_times(T factor, T x) {
  if constexpr (kIsFloat<T>) {
    const auto reduced = reduce(at_least(x, -20.0));  // e⁻²⁰ < half an ULP of 1
    const T scaled = scaled_within(factor, reduced);
    return madd(scaled, growth(reduced.r), scaled - factor);
  } else {
    return factor * library_expm1(x);
  }
}

// factor·e^(x/width): 1.25 ULP
template <class T>
constexpr T exp_times(T factor, T x, double width) {
  if constexpr (kIsFloat<T>) {
    const auto [reduced, remainder] = Stretched<T>(x, width, 105.0);
    const T product = grown(factor, reduced.r);
    if constexpr (!kScalesAtOnce<T>) {
      if (!any(abs(reduced.n) > T(126.0))) return scaled_within(product, reduced);
    }
    return scale_by_power_of_two(product, reduced.n);
  } else {
    return factor * library_exp(x / T(width));
  }
}

// factor·width·(e^(x/width) − 1), which is factor·x near 0 without a rounding of x/width. In
// halves: 2ⁿ may overflow before the result. 1.5 ULP where x/width ≤ 0.
template <class T>
constexpr T expm1_times(T factor, T x, double width) {
  if constexpr (kIsFloat<T>) {
    const auto [reduced, remainder] = Stretched<T>(x, width, width > 0 ? 20.0 : 89.0);
    const Reduced<T> halved = {reduced.shifted - T(1.0), reduced.n - T(1.0), reduced.r};
    const T power = scaled_within(T(1.0), halved);
    const T excess = madd(expm1_tail(reduced.r) * reduced.r, remainder, remainder);
    const T half = madd(power, excess, T(width) * (power - T(0.5)));
    return factor * (half + half);
  } else {
    return factor * T(width) * library_expm1(x / T(width));
  }
}

// numerator/(1 + eˣ), of a number or a pair x: 2 ULP for any number
template <class T, class X>
constexpr T over_one_plus_exp(T numerator, X x) {
  if constexpr (kIsFloat<T>) {
    const auto reduced = reduce(x);
    const T power = scaled_within(T(1.0), reduced);
    const T quotient = numerator / (madd(power, growth(reduced.r), T(1.0)) + power);
    // Above 80 the 1 does not count, and the exponential would overflow before the quotient
    // underflows. There the exponential goes down to 0 (where 0·∞ is NaN). Below −80 it is 0.
    const T large = high_part(x);
    if (!any(abs(large) > T(80.0))) return quotient;
    const T small = where(large > T(115.0), T(0.0) * numerator, exp_times(numerator, -x));
    return where(large > T(80.0), small, where(large < T(-80.0), numerator, quotient));
  } else {
    const T e = library_exp(minus_abs(x));
    return where(high_part(x) > T(0.0), numerator * e, numerator) / (e + T(1.0));
  }
}

// --- logarithms --------------------------------------------------------------------------------

// log(1 + e) for −0.5 ≤ e ≤ 1: 1.25 ULP. With s = e/(2 + e) it is 2·atanh(s) = e − s·(e −
// s²·tail(s²)).
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

// log((1 + fraction)·2ⁿ), ln 2 in two parts as in `reduce`
template <class T>
constexpr T log_of_parts(T fraction, T n) {
  return madd(n, T(0.693359375), madd(n, T(-2.12194440e-4), log1p_unit(fraction)));
}

// log(x) for x = 0 and positive normal numbers: 0.9 ULP
template <class T>
constexpr T log(T x) {
  if constexpr (kIsFloat<T>) {
    const auto [m, n] = split(x);
    const T result = log_of_parts(m - T(1.0), n);
    return where(x == T(0.0), -infinity<T>(), where(x == x, result, x));
  } else {
    return library_log(x);
  }
}

// factor·e^(−a²/2) for 0 ≤ a ≤ 17: 1.05 ULP. a² is kept in two parts: its rounding would cost up to
// 50 ULP.
template <class Factor, class T>
constexpr T exp_minus_half_square_times(Factor factor, T a) {
  return exp_times(factor, exact_product(a, T(-0.5) * a));
}

}  // namespace activations_ext
