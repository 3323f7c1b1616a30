#pragma once

#include "../activation.h"
#include "../math.h"

namespace activations_ext {

// x·Φ(x), Φ the standard normal distribution function: Hendrycks and Gimpel, arXiv:1606.08415.
// All of it comes from Φ(−|x|), which keeps its relative accuracy in the tail.
struct GELU {
  static constexpr const char* kName = "gelu";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};

  constexpr bool saves_result() const { return false; }

  // x − |x|·Φ(−|x|), and −|x|·Φ(−|x|) for negative x: there 0·x is NaN at −∞, as torch's.
  template <class T>
  constexpr T value(T x) const {
    const T a = clamped(x);
    T tail;  // a·Φ(−a)
    if constexpr (kIsFloat<T>) {
      const T s = a / (a + T(4.0));
      tail = exp_minus_half_square_times(s * mills_numerator(s + s - T(1.0)), a);
    } else {
      tail = a * upper_tail(a);
    }
    return madd(where(x < T(0.0), T(0.0), T(1.0)), x, -tail);
  }
  // Φ(x) + x·φ(x), which is 1 less its value at −x; NaN at ±∞, as torch's.
  template <class T>
  constexpr T slope(T x) const {
    const T a = clamped(x);
    T tail;  // Φ(−a) − a·φ(a)
    if constexpr (kIsFloat<T>) {
      const T inverse = T(1.0) / (a + T(4.0));
      const T mills = inverse * mills_numerator((a - T(4.0)) * inverse);
      tail = exp_minus_half_square_times(madd(T(-kPeak), a, mills), a);
    } else {
      tail = upper_tail(a) - exp_minus_half_square_times(T(kPeak) * a, a);
    }
    return madd(T(0.0), x, where(x < T(0.0), tail, T(1.0) - tail));
  }
  // φ(x)·(2 − x²)
  template <class T>
  constexpr T curvature(T x) const {
    const T a = clamped(x);
    return exp_minus_half_square_times(T(kPeak) * (T(2.0) - a * a), a);
  }

 private:
  static constexpr double kPeak = 0.39894228040143267794;  // φ(0) = 1/√(2π)

  // |x| up to where e^(−x²/2) has underflowed.
  template <class T>
  static constexpr T clamped(T x) {
    return at_most(abs(x), kIsFloat<T> ? 17.0 : 37.5);
  }
  // Φ(−a)
  template <class T>
  static constexpr T upper_tail(T a) {
    return T(0.5) * library_erfc(a * T(0.70710678118654752440));
  }
  // (a + 4)·e^(a²/2)·Φ(−a) of t = (a − 4)/(a + 4): smooth, between 2 and 1/√(2π), for 0 ≤ a.
  template <class T>
  static constexpr T mills_numerator(T t) {
    return polynomial(t, 0.7552851353, -0.6078965849, 0.3871369068, -0.1865235298, 0.06040369723,
                      -0.007524743168, -0.003511605131, 0.001569271917, 0.0001774106088,
                      -0.0001328868195);
  }
};

// x·σ(u), u = √(8/π)·(x + 0.044715·x³), which is x/2·(1 + tanh(u/2)).
struct GELUTanh {
  static constexpr const char* kName = "gelu_tanh";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};
  static constexpr double kLinear = 1.5957691216057307118, kCubic = kLinear * 0.044715;
  static constexpr double kLinearHigh = 3268.0 / 2048;

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
    // v = −(1.59… + 0.071…·a²). The first constant has 12 bits, so that v + 1.59… is exact.
    const T v = madd(T(-kCubic), square.high, T(-kLinearHigh));
    const T v_error = fma(T(-kCubic), square.high, -(v + T(kLinearHigh)));
    const T v_low = madd(T(-kCubic), square.low,
                         madd(T(-low_part<T>(kCubic)), square.high, v_error)) -
                    T(kLinear - kLinearHigh);
    const auto product = exact_product(a, v);
    return {product.high, madd(a, v_low, product.low)};
  }
};

}  // namespace activations_ext
