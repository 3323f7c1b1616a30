#pragma once

#include "../contract/activation.h"
#include "../math/sigmoidal.h"

namespace activations_ext {

// x·Φ(x), Φ the standard normal distribution function: Hendrycks and Gimpel, arXiv:1606.08415.
// All of it comes from Φ(−|x|), which keeps its relative accuracy in the tail.
struct GELU {
  static constexpr const char* kName = "gelu";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};

  template <class T>
  constexpr T value(T x) const {
    const T a = clamped(x), gate = where(x < T(0.0), T(0.0) * x, x);  // NaN at −∞, as torch's
    if constexpr (kIsFloat<T>) {
      const T tail = exp_minus_half_square_times(mills_ratio(a), a);
      const T near = madd(-a, where(a < T(0.5), upper_half(a), tail), gate);
      const auto is_far = a >= T(kNear);
      if (!any(is_far)) return near;
      return where(is_far, gate - exp_minus_half_square_times(far_mills_ratio_times(a), a), near);
    } else {
      return madd(-a, normal_tail(a), gate);
    }
  }
  // Φ(x) + x·φ(x), which is 1 less its value at −x; NaN at ±∞, as torch's.
  template <class T>
  constexpr T slope(T x) const {
    const T a = clamped(x);
    const T tail = slope_tail(a);
    return madd(T(0.0), x, where(x < T(0.0), tail, T(1.0) - tail));
  }
  // φ(x)·(2 − x²)
  template <class T>
  constexpr T curvature(T x) const {
    const T a = clamped(x);
    return exp_minus_half_square_times(T(kPeak) * (T(2.0) - a * a), a);
  }

  static constexpr double kPeak = 0.39894228040143267794;  // φ(0) = 1/√(2π)

  // |x| up to where e^(−x²/2) has underflowed.
  template <class T>
  static constexpr T clamped(T x) {
    return at_most(abs(x), kIsFloat<T> ? 14.9 : 39.0);
  }

 private:
  // m(a) = e^(a²/2)·Φ(−a) for a < kNear, in two parts: a polynomial around kCentre, whose constant
  // is almost a float.
  static constexpr double kNear = 3.75, kCentre = 1.880859375, kAtCentre = 0.1758909532;
  template <class T>
  static constexpr Pair<T> mills_ratio(T a) {
    const T h = a - T(kCentre);
    const T slope = polynomial(h, -0.06811613102, 0.02388699777, -0.007729349174, 0.002337518152,
                               -0.0006665923896, 0.000180231066, -4.672185851e-5, 1.187300938e-5,
                               -2.786445074e-6, 5.232145696e-7, -1.284084493e-7, 5.290926527e-8,
                               -1.009270076e-8);
    const T high = madd(slope, h, T(kAtCentre));
    return {high, madd(slope, h, T(kAtCentre) - high)};
  }
  // Φ(−a) for a < ½, where gelu needs its last digit.
  template <class T>
  static constexpr T upper_half(T a) {
    const T odd = polynomial(a * a, 0.3989422654, -0.06648957507, 0.009961891959, -0.001124414521);
    return madd(-a, odd, T(0.5));
  }
  // a·m(a) for kNear ≤ a < 15, a polynomial of 1/a² that is nearly φ(0) at 0.
  static constexpr double kLimit = 0.3989422703;
  template <class T>
  static constexpr Pair<T> far_mills_ratio_times(T a) {
    const T s = T(1.0) / (a * a);
    const T rest = s * polynomial(s, -0.398937533, 1.19598858, -5.908886569, 37.96269384,
                                  -247.3749666, 1215.963423, -2997.688457);
    const auto factor = ordered_sum(T(kLimit), rest);
    return {factor.high, factor.low + T(low_part<T>(kLimit))};
  }
  // Φ(−a) − a·φ(a)
  template <class T>
  static constexpr T slope_tail(T a) {
    if constexpr (kIsFloat<T>) {
      T ratio = mills_ratio(a).high;
      const auto is_far = a >= T(kNear);
      if (any(is_far)) ratio = where(is_far, far_mills_ratio_times(a).high / a, ratio);
      return exp_minus_half_square_times(madd(T(-kPeak), a, ratio), a);
    } else {
      return normal_tail(a) - exp_minus_half_square_times(T(kPeak) * a, a);
    }
  }
};

// x·σ(u), u = √(8/π)·(x + 0.044715·x³), which is x/2·(1 + tanh(u/2)).
struct GELUTanh {
  static constexpr const char* kName = "gelu_tanh";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};
  static constexpr double kLinear = 1.5957691216057307118, kCubic = kLinear * 0.044715;
  static constexpr double kLinearHigh = 3268.0 / 2048;

  template <class T>
  constexpr T value(T x) const {
    return over_one_plus_exp(x, minus_argument(x));  // −∞/∞ is NaN, as torch's
  }
  // σ + x·σ'·u'; NaN at ±∞, as torch's.
  template <class T>
  constexpr T slope(T x) const {
    const T e = exp_times(T(1.0), minus_argument(abs(x)));
    const T inverse = T(1.0) / (e + T(1.0));
    const T tail = e * inverse;  // σ(−|u|)
    const T sigma = where(x < T(0.0), tail, inverse);
    const T c = clamped(x);
    const T argument_slope = madd(T(3.0 * kCubic) * c, c, T(kLinear));
    return madd(T(0.0), x, madd(argument_slope * c * tail, inverse, sigma));
  }
  // σ'·(2u' + x(u'' + u'²(1 − 2σ)))
  template <class T>
  constexpr T curvature(T x) const {
    const T e = exp_times(T(1.0), minus_argument(abs(x)));
    const T inverse = T(1.0) / (e + T(1.0));
    const T one_minus_two_sigma = copysign((T(1.0) - e) * inverse, -x);
    const T c = clamped(x);
    const T argument_slope = madd(T(3.0 * kCubic) * c, c, T(kLinear));
    const T argument_curvature = T(6.0 * kCubic) * c;
    return e * inverse * inverse *
           (T(2.0) * argument_slope +
            c * (argument_curvature + argument_slope * argument_slope * one_minus_two_sigma));
  }

 private:
  // x up to where e^(−|u|) has underflowed.
  template <class T>
  static constexpr T clamped(T x) {
    const double limit = kIsFloat<T> ? 12.5 : 25.0;
    return at_most(at_least(x, -limit), limit);
  }
  // −u to twice the precision of T: an error in the exponent is a relative error of e^u.
  template <class T>
  static constexpr Pair<T> minus_argument(T x) {
    const T c = clamped(x);
    if constexpr (kRoundsLater<T>) return {-c * madd(T(kCubic), c * c, T(kLinear)), T(0.0)};
    const auto square = exact_product(c, c);
    // v = −(1.59… + 0.071…·c²). The first constant has 12 bits, so that v + 1.59… is exact.
    const T v = madd(T(-kCubic), square.high, T(-kLinearHigh));
    const T v_error = fma(T(-kCubic), square.high, -(v + T(kLinearHigh)));
    const T v_low =
        madd(T(-kCubic), square.low, madd(T(-low_part<T>(kCubic)), square.high, v_error)) -
        T(kLinear - kLinearHigh);
    const auto product = exact_product(c, v);
    return {product.high, madd(c, v_low, product.low)};
  }
};

}  // namespace activations_ext
