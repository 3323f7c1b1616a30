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
      const T z = x * x;
      const T near = x * z *
                     polynomial(z, 0.3333333316, -0.133333107, 0.05396342095, -0.02182958545,
                                0.008697950942, -0.003206953508, 0.0009236091573, -0.0001428239272);
      // |x| − tanh|x| = (|x| − 1) + 2/(e^(2|x|) + 1)
      const T far = abs(x) - T(1.0) + T(2.0) / (exp(abs(x) + abs(x)) + T(1.0));
      return where(abs(x) < T(1.0), near, copysign(far, x));
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
