#pragma once

#include "../activation.h"
#include "../math.h"

namespace activations_ext {

struct Tanh {
  static constexpr const char* kName = "tanh";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};

  constexpr bool saves_result() const { return true; }

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

  constexpr bool saves_result() const { return false; }

  template <class T>
  constexpr T value(T x) const {
    if constexpr (kIsFloat<T>) {
      // x·(x²·deficit), every product in two parts.
      const auto square = exact_product(x, x);
      const T deficit = tanh_deficit(square.high);
      const auto factor = exact_product(square.high, deficit);
      const auto near = exact_product(x, factor.high);
      const T near_low = madd(x, madd(square.low, deficit, factor.low), near.low);
      // |x| − tanh|x|
      const T far = (abs(x) - T(1.0)) + tanh_complement(abs(x));
      return where(abs(x) < T(1.0), near.high + near_low, copysign(far, x));
    } else {
      return x - hyperbolic_tangent(x);
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
};

}  // namespace activations_ext
