#pragma once

#include "../activation.h"
#include "../sigmoidal.h"

namespace activations_ext {

struct Tanh {
  static constexpr const char* kName = "tanh";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};

  template <class T>
  constexpr T value(T x) const {
    return hyperbolic_tangent(x);
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
      const T far = (abs(x) - T(1.0)) + tanh_complement(abs(x));
      return where(abs(x) < T(1.0), near.high + near_low, copysign(far, x));
    } else {
      // tanh x = x/(1 + q), q = x²/(3 + x²/(5 + x²/(7 + …))), so that x − tanh x = x·q/(1 + q).
      const T z = x * x;
      T fraction = T(25.0);
      for (int odd = 23; odd > 1; odd -= 2) fraction = T(odd) + z / fraction;
      const T q = z / fraction;
      return where(abs(x) < T(1.5), x * (q / (q + T(1.0))), x - hyperbolic_tangent(x));
    }
  }
  template <class T>
  constexpr T slope(T x) const {
    const T t = hyperbolic_tangent(x);
    return t * t;
  }
  template <class T>
  constexpr T curvature(T x) const {
    return T(8.0) * hyperbolic_tangent(x) * logistic_slope(x + x);  // 1 − tanh²(x) = 4σ'(2x)
  }

 private:
  // (x − tanh x)/x³ of z = x² for |x| ≤ 1 is kDeficit + z·deficit_tail(z).
  static constexpr double kDeficit = 0.3333333316;
  template <class T>
  static constexpr T deficit_tail(T z) {
    return polynomial(z, -0.133333107, 0.05396342095, -0.02182958545, 0.008697950942,
                      -0.003206953508, 0.0009236091573, -0.0001428239272);
  }
};

}  // namespace activations_ext
