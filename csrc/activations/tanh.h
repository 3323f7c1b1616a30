#pragma once

#include "../contract/activation.h"
#include "../math/sigmoidal.h"

namespace activations_ext {

struct Tanh {
  static constexpr const char* kName = "tanh";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};

  template <class T>
  constexpr T value(T x) const {
    if constexpr (kIsFloat<T>) {
      // (w − 1)/(w + 1), w = e^(−2|x|), both sums in two parts; beyond 1 rather 1 − 2w/(w + 1).
      const auto reduced = reduce(at_least(T(-2.0) * abs(x), -20.0));
      const T power = scaled_within(T(1.0), reduced), excess = growth(reduced.r);
      const T less = power - T(1.0), minus = madd(power, excess, less), plus = minus + T(2.0);
      const T minus_low = madd(power, excess, less - minus), plus_low = minus - (plus - T(2.0));
      const auto large = abs(x) > T(1.0);
      const T rounded = where(large, madd(power + power, excess, power + power), minus) / plus;
      // 1/plus is 0.5 to 0.9; its own error is one of rounding errors.
      const T quotient = madd(madd(-rounded, plus_low, minus_low), T(0.6), rounded);
      return copysign(where(large, T(1.0) - quotient, quotient), x);
    } else {
      const T e = library_expm1(T(-2.0) * abs(x));
      return copysign(e / (e + T(2.0)), x);
    }
  }
  template <class T>
  constexpr T slope_of_result(T y) const {
    return T(1.0) - y * y;
  }
  template <class T>
  constexpr T curvature_of_result(T y) const {
    return T(-2.0) * y;
  }
};

// x − tanh(x): x³/3 near 0, where the difference would lose every digit.
struct Tanhshrink {
  static constexpr const char* kName = "tanhshrink";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};

  // (x − tanh x)/x³ of z = x² for |x| ≤ 1 is kDeficit + z·deficit_tail(z).
  static constexpr double kDeficit = 0.3333333316;
  template <class T>
  static constexpr T deficit_tail(T z) {
    return polynomial(z, -0.133333107, 0.05396342095, -0.02182958545, 0.008697950942,
                      -0.003206953508, 0.0009236091573, -0.0001428239272);
  }

  template <class T>
  constexpr T value(T x) const {
    if constexpr (kIsFloat<T>) {
      // x·(x²·deficit), every step in two parts.
      const auto square = exact_product(x, x);
      const T tail = square.high * deficit_tail(square.high);
      const auto deficit = ordered_sum(T(kDeficit), tail);
      const T deficit_low = deficit.low + T(low_part<T>(kDeficit));
      const auto factor = exact_product(square.high, deficit.high);
      const T factor_low =
          madd(square.high, deficit_low, madd(square.low, deficit.high, factor.low));
      const auto near = exact_product(x, factor.high);
      const T near_low = madd(x, factor_low, near.low);
      // |x| − tanh|x|
      const T far = (abs(x) - T(1.0)) + over_one_plus_exp(T(2.0), abs(x + x));
      return copysign(where(abs(x) < T(1.0), near.high + near_low, far), x);
    } else if constexpr (kRoundsLater<T>) {
      const T z = x * x, far = abs(x) - Tanh{}.value(abs(x));
      const T near = x * z * madd(z, deficit_tail(z), T(kDeficit));
      return where(abs(x) < T(1.0), near, copysign(far, x));
    } else {
      // tanh x = x/(1 + q), q = x²/(3 + x²/(5 + x²/(7 + …))), so that x − tanh x = x·q/(1 + q).
      const T z = x * x;
      T fraction = T(25.0);
      for (double odd = 23.0; odd > 1.0; odd -= 2.0) fraction = T(odd) + z / fraction;
      const T q = z / fraction;
      return where(abs(x) < T(1.5), x * (q / (q + T(1.0))), x - value_of(Tanh{}, x));
    }
  }
  template <class T>
  constexpr T slope(T x) const {
    const T t = value_of(Tanh{}, x);
    return t * t;
  }
  template <class T>
  constexpr T curvature(T x) const {
    return T(8.0) * value_of(Tanh{}, x) * logistic_slope(x + x);  // 1 − tanh²(x) = 4σ'(2x)
  }
};

}  // namespace activations_ext
