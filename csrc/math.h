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

// A function of 0 ≤ a < limit by a polynomial on each of up to sixteen pieces, which are `width` =
// 2ᵏ wide, and far() beyond. The rows are the pieces' centres, then the coefficients. Centres are
// chosen so that the constant is almost a float: the result is little worse than rounded once.
template <class T, std::size_t kRows, class Far>
constexpr T piecewise(const Table (&rows)[kRows], double width, double limit, T a, Far far) {
  const T piece = a + T(16.0 * width);  // the highest four bits of its mantissa count the pieces
  const T h = a - lookup<19>(rows[0], piece);
  T result = lookup<19>(rows[kRows - 1], piece);
  for (std::size_t row = kRows - 2; row > 0; --row)
    result = madd(result, h, lookup<19>(rows[row], piece));
  // Few numbers are that large: mostly a whole vector has none. `piece` is compared, not a, as a
  // number just below the limit is rounded up to what counts as the next piece.
  const auto is_far = piece >= T(16.0 * width + limit);
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

// e⁻ᵃ for a ≥ 0
template <class T>
constexpr T decay(T a) {
  if constexpr (kIsFloat<T>) {
    const auto [n, r] = reduce(at_least(-a, -160.0));
    return scale_by_power_of_two(growth(r) + T(1.0), n);
  } else {
    return library_exp(-a);
  }
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
  return over_one_plus_exp(T(1.0), at_least(-x, -160.0));
}

// log(1 + eˣ) = max(x, 0) + log(1 + e^(−|x|))
template <class T>
constexpr T log1p_exp(T x) {
  const T a = abs(x);
  const auto far = [a] { return log1p_unit(decay(a)); };
  T tail;
  if constexpr (kIsFloat<T>) {
    constexpr Table kPieces[] = {
        {0.240234375, 0.7490234375, 1.240234375, 1.751953125, 2.258789063, 2.75, 3.25, 3.759765625,
         4.2578125, 4.749023438, 5.259765625, 5.76171875, 6.249023438, 6.748046875, 7.259765625,
         7.758789063},
        {0.5802267834, 0.3871844125, 0.2541121556, 0.1599352351, 0.0993718496, 0.06196758882,
         0.03804137171, 0.02302214324, 0.01405400702, 0.008622864335, 0.005183067228,
         0.003140762943, 0.001930475717, 0.001172481117, 0.0007030256727, 0.000426882183},
        {-0.4402285744, -0.3210341279, -0.2243952038, -0.1478010246, -0.09459402887, -0.06008665052,
         -0.037326887, -0.02275915569, -0.01395571039, -0.008585793668, -0.005169658327,
         -0.003135835953, -0.001928613438, -0.001171793955, -0.0007027786114, -0.0004267910814},
        {0.1232130582, 0.1089854999, 0.08702128306, 0.06297827304, 0.0428231802, 0.02823817613,
         0.01796678762, 0.01112056194, 0.006880448755, 0.004256019813, 0.002571453161,
         0.001562992602, 0.0009624415299, 0.0005852070734, 0.0003511402561, 0.000213303178},
        {-0.004911195711, -0.01300289765, -0.01598799683, -0.01478701357, -0.01157397532,
         -0.008281549969, -0.005541865287, -0.003538120825, -0.002229468006, -0.00139433956,
         -0.0008482823513, -0.0005177228013, -0.00031958369, -0.0001946169459, -0.0001168811441,
         -7.103991215e-5},
        {-0.004886105911, -0.002791102698, -0.0003336418196, 0.001267649659, 0.001727088756,
         0.001553484655, 0.001174772052, 0.0008041744544, 0.0005271220116, 0.0003373856713,
         0.0002082433909, 0.0001281743758, 7.951264231e-5, 4.857106929e-5, 2.922792063e-5,
         1.778468177e-5},
        {0.0004993485533, 0.001042344911, 0.0008545753724, 0.0003773868201, 2.052908675e-5,
         -0.000132666005, -0.0001569249885, -0.0001299397316, -9.333008619e-5, -6.237279811e-5,
         -4.005230406e-5, -2.51333214e-5, -1.555857498e-5, -9.553626407e-6, -5.837831627e-6,
         -3.556800209e-6}};
    tail = piecewise(kPieces, 0.5, 8.0, a, far);
  } else {
    tail = far();
  }
  return at_least(x, 0.0) + tail;
}

// x·F(x) of x and |x|·F(−|x|), where F(x) + F(−x) = 1; NaN at −∞, as torch's.
template <class T>
constexpr T gated(T x, T tail) {
  return where(x < T(0.0), T(0.0) * x, x) - tail;
}

// 1 − tanh(a) for a ≥ 0
template <class T>
constexpr T tanh_complement(T a) {
  return T(2.0) / one_plus_exp(reduce(at_most(a + a, 60.0)));
}

template <class T>
constexpr T hyperbolic_tangent(T x) {
  if constexpr (kIsFloat<T>) {
    constexpr Table kPieces[] = {
        {0.0, 0.3740234375, 0.626953125, 0.8671875, 1.126953125, 1.38671875, 1.619140625, 1.8828125,
         2.125, 2.36328125, 2.624023438, 2.864257813, 3.123046875, 3.381835938, 3.633789063,
         3.881835938},
        {0.0, 0.3575059483, 0.5559506385, 0.6999423513, 0.809973896, 0.8824468883, 0.9244994503,
         0.9547415999, 0.9718727459, 0.9824417823, 0.9895394443, 0.9935172798, 0.9961314778,
         0.997692704, 0.9986053733, 0.9991505738},
        {1.000000005, 0.8721895022, 0.6909188996, 0.5100807094, 0.3439422867, 0.2212874878,
         0.1453007652, 0.08846847692, 0.05546336562, 0.03480814446, 0.02081168817, 0.01292341482,
         0.00772207898, 0.004609268379, 0.00278730842, 0.001698130879},
        {-1.556921186e-6, -0.3118129243, -0.3841168802, -0.3570270556, -0.2785842755, -0.195274421,
         -0.1343304875, -0.08446452884, -0.05390333315, -0.03419697526, -0.02059398622,
         -0.01283963527, -0.007692205842, -0.004598633646, -0.002783421342, -0.00169668853},
        {-0.3332595601, -0.179257536, -0.01676252597, 0.07986913208, 0.1109991155, 0.09855766199,
         0.07575547061, 0.05115253961, 0.03389945871, 0.02199382093, 0.01344131054, 0.008448576931,
         0.005088406225, 0.00305159013, 0.001850430284, 0.00112919949},
        {-0.001282746392, 0.1680172013, 0.1373711152, 0.06309704754, 0.002955942505, -0.02188741244,
         -0.02525667248, -0.02068389915, -0.01497822848, -0.01020871459, -0.006436084421,
         -0.004114084526, -0.002504683502, -0.001511630625, -0.0009200074359, -0.0005626606747},
        {0.1434851102, 0.01940848014, -0.0546214829, -0.05915011075, -0.03182202865,
         -0.008741728121, 0.001249929126, 0.004631629979, 0.004481055717, 0.003471915739,
         0.002353580193, 0.001560760765, 0.0009724803458, 0.0005947449024, 0.0003647254093,
         0.0002240774773},
        {-0.03756498431, -0.06910077346, -0.02436643951, 0.01285287045, 0.0184662828, 0.01098322677,
         0.00412603714, 0.0006536113706, -0.0005587446557, -0.0007634784412, -0.0006373813353,
         -0.0004550364866, -0.0003021735497, -0.0001931370777, -0.0001208223896, -7.464748582e-5}};
    const T a = abs(x);
    const auto far = [a] { return T(1.0) - tanh_complement(a); };
    return copysign(piecewise(kPieces, 0.25, 4.0, a, far), x);
  } else {
    const T e = library_expm1(T(-2.0) * abs(x));
    return copysign(e / (e + T(2.0)), x);
  }
}

// σ'(x) = e/(1 + e)², e = e^(−|x|)
template <class T>
constexpr T logistic_slope(T x) {
  const T e = decay(abs(x));
  const T inverse = T(1.0) / (e + T(1.0));
  return e * inverse * inverse;
}

// factor·e^(−a²/2) for 0 ≤ a ≤ 17. a² is kept in two parts: its rounding would cost up to 50 ULP.
template <class Factor, class T>
constexpr T exp_minus_half_square_times(Factor factor, T a) {
  return exp_times(factor, exact_product(a, T(-0.5) * a));
}

}  // namespace activations_ext
