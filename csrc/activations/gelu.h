#pragma once

#include "../activation.h"
#include "../math.h"

namespace activations_ext {

// x·Φ(x), Φ the standard normal distribution function: Hendrycks and Gimpel, arXiv:1606.08415.
// From Φ(−|x|), which keeps its relative accuracy in the tail: x·Φ(x) = x − x·Φ(−x).
struct GELU {
  static constexpr const char* kName = "gelu";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};

  constexpr bool saves_result() const { return false; }

  template <class T>
  constexpr T value(T x) const {
    const T a = abs(x);
    const T tail = exp_minus_half_square_times(x * mills_ratio(a), a);  // x·Φ(−|x|)
    // Where even x·Φ(x) underflows: 0·x is −0, and NaN at −∞ as torch's.
    return where(x < T(-40.0), T(0.0) * x, where(x < T(0.0), tail, x - tail));
  }
  template <class T>
  constexpr T slope(T x) const {
    const T a = abs(x);
    const T tail = exp_minus_half_square_times(mills_ratio(a), a);
    return where(x < T(0.0), tail, T(1.0) - tail) + x * normal_density(x);
  }
  template <class T>
  constexpr T curvature(T x) const {
    return normal_density(x) * (T(2.0) - x * x);
  }
};

// x·σ(u), u = √(8/π)·(x + 0.044715·x³), which is x/2·(1 + tanh(u/2)).
struct GELUTanh {
  static constexpr const char* kName = "gelu_tanh";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};
  static constexpr double kLinear = 1.5957691216057307118, kCubic = kLinear * 0.044715;

  constexpr bool saves_result() const { return false; }

  template <class T>
  constexpr T value(T x) const {
    const T e = exp_times(T(1.0), minus_abs_argument(x));
    const T numerator = where(x < T(0.0), exp_times(x, minus_abs_argument(x)), x);
    return where(x < T(-40.0), T(0.0) * x, numerator / (e + T(1.0)));
  }
  template <class T>
  constexpr T slope(T x) const {
    const T e = exp_times(T(1.0), minus_abs_argument(x));
    const T inverse = T(1.0) / (e + T(1.0));
    const T sigma = where(x < T(0.0), e * inverse, inverse);
    const T complement = where(x < T(0.0), inverse, e * inverse);
    const T argument_slope = T(3.0 * kCubic) * x * x + T(kLinear);
    return sigma * (T(1.0) + x * argument_slope * complement);
  }
  // σ'·(2u' + x(u'' + u'²(1 − 2σ)))
  template <class T>
  constexpr T curvature(T x) const {
    const T e = exp_times(T(1.0), minus_abs_argument(x));
    const T inverse = T(1.0) / (e + T(1.0));
    const T one_minus_two_sigma = copysign((T(1.0) - e) * inverse, -x);
    const T argument_slope = T(3.0 * kCubic) * x * x + T(kLinear);
    const T argument_curvature = T(6.0 * kCubic) * x;
    return e * inverse * inverse *
           (T(2.0) * argument_slope +
            x * (argument_curvature + argument_slope * argument_slope * one_minus_two_sigma));
  }

 private:
  // −|u| to twice the precision of T: an error in the exponent is a relative error of e^u. Cut off
  // where e^(−|u|) has underflowed.
  template <class T>
  static constexpr Pair<T> minus_abs_argument(T x) {
    const T a = at_most(abs(x), kIsFloat<T> ? 12.5 : 25.0);
    const auto square = exact_product(a, a);
    const auto cubic = exact_product(T(kCubic), square.high);
    const auto sum = exact_sum(cubic.high, T(kLinear));
    const T rest = cubic.low + T(kCubic) * square.low + T(low_part<T>(kCubic)) * square.high;
    const T low = sum.low + rest + T(low_part<T>(kLinear));
    const auto product = exact_product(a, sum.high);
    return {-product.high, -(product.low + a * low)};
  }
};

}  // namespace activations_ext
