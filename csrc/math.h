// Elementary functions over any number type: double (the C library's), float (polynomials, about
// one ULP) and SIMD vectors of either. The polynomials' coefficients are printed by minimax.py.
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

// A function by polynomials, one on each of up to sixteen pieces of 0 ≤ x < limit or, with a
// SignedTable, up to 32 of |x| < limit, which are `width` = 2ᵏ wide; far() is its value beyond. The
// rows are the pieces' centres, then the coefficients. Centres are chosen so that the constant is
// almost a float: the result is little worse than rounded once. With a factor it is that times the
// function, and far() has it, too.
template <class T, std::size_t kRows, std::size_t kPieces, class Far>
constexpr T piecewise(const float (&rows)[kRows][kPieces], double width, double limit, T x, Far far,
                      T factor = T(1.0)) {
  // The highest bits of this sum's mantissa count the pieces: four from 0 on, or five from −16.
  constexpr bool kSigned = kPieces == 32;
  constexpr int kLowest = kSigned ? 18 : 19;
  const double origin = (kSigned ? 48.0 : 16.0) * width;
  const T piece = x + T(origin);
  const T h = x - lookup<kLowest>(rows[0], piece);
  T result = lookup<kLowest>(rows[kRows - 1], piece);
  for (std::size_t row = kRows - 2; row > 0; --row)
    result = madd(result, h, lookup<kLowest>(rows[row], piece));
  result = factor * result;
  // Few numbers are that large: mostly a whole vector has none. `piece` is compared, not x, as a
  // number just below the limit is rounded up to what counts as the next piece.
  const T end = kSigned ? abs(piece - T(origin)) : piece;
  const auto is_far = end >= T(kSigned ? limit : origin + limit);
  if (any(is_far)) result = where(is_far, far(), result);
  return result;
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
    return factor * library_exp(sum(x));
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

// eˣ for −160 ≤ x ≤ 88
template <class T>
constexpr T exp_within(T x) {
  if constexpr (kIsFloat<T>) {
    const auto [n, r] = reduce(x);
    return scale_by_power_of_two(growth(r) + T(1.0), n);
  } else {
    return library_exp(x);
  }
}

// eˣ for x ≤ 0, with 0 in the place of subnormal numbers: a third fewer instructions on AVX2.
template <class T>
constexpr T share(T x) {
  if constexpr (kIsFloat<T>) {
    const T shift = T(12582912.0);
    const T shifted = madd(x, T(1.44269504088896341), shift), n = shifted - shift;
    const T r = madd(n, T(2.12194440e-4), madd(n, T(-0.693359375), x));
    // −126·ln 2 and below, −∞ and the nonsense that was computed of it included.
    return where(x < T(-87.33654), T(0.0), add_exponent(growth(r) + T(1.0), shifted));
  } else {
    return library_exp(x);
  }
}

// e⁻ᵃ for a ≥ 0
template <class T>
constexpr T decay(T a) {
  return exp_within(at_least(-a, -kZeroFrom<T>));
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

// numerator/(1 + eˣ) for a T x ≥ −160 or a Pair<T> with −160 ≤ high ≤ 160
template <class T, class X>
constexpr T over_one_plus_exp(T numerator, X x) {
  if constexpr (kIsFloat<T>) {
    const auto [n, r] = reduce(at_most(x, 88.0));
    const T power = scale_by_power_of_two(T(1.0), n);
    const T quotient = numerator / (madd(power, growth(r), T(1.0)) + power);
    // Above 80 the 1 does not count, and the exponential would overflow before the quotient
    // underflows. There the exponential goes down to 0 (where 0·∞ is NaN). Rare: see piecewise.
    const auto large = high_part(x) > T(80.0);
    if (!any(large)) return quotient;
    const T small = exp_times(numerator, -x);
    return where(large, where(high_part(x) > T(115.0), T(0.0) * numerator, small), quotient);
  } else {
    const T whole = sum(x), e = library_exp(-abs(whole));
    return where(whole > T(0.0), numerator * e, numerator) / (e + T(1.0));
  }
}

// --- logarithms --------------------------------------------------------------------------------

// log(1 + e) for −0.5 ≤ e ≤ 1. With s = e/(2 + e) it is 2·atanh(s) = e − s·(e − s²·tail(s²)).
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

// log(x) for x = 0 and positive normal numbers
template <class T>
constexpr T log(T x) {
  if constexpr (kIsFloat<T>) {
    const auto [m, n] = split(x);
    // ln 2 in two parts, as in `reduce`.
    const T fraction = madd(n, T(-2.12194440e-4), log1p_unit(m - T(1.0)));
    const T result = madd(n, T(0.693359375), fraction);
    return where(x == T(0.0), -infinity<T>(), where(x == x, result, x));
  } else {
    return library_log(x);
  }
}

// factor·e^(−a²/2) for 0 ≤ a ≤ 17. a² is kept in two parts: its rounding would cost up to 50 ULP.
template <class Factor, class T>
constexpr T exp_minus_half_square_times(Factor factor, T a) {
  return exp_times(factor, exact_product(a, T(-0.5) * a));
}

}  // namespace activations_ext
