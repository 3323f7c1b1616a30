#pragma once

#include "../contract/activation.h"
#include "../math/math.h"

namespace activations_ext {

// λx for x ≥ 0, λα·x·eˣ otherwise: Zhang and Li, arXiv:1807.10117. The minimum is −λα/e at −1.
struct SERLU {
  static constexpr const char* kName = "serlu";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};
  static constexpr double kAlpha = 2.90427, kLambda = 1.07862;

  template <class T>
  constexpr T value(T x) const {
    const T negative = exp_times(T(kLambda * kAlpha) * x, x);
    return where(x >= T(0.0), T(kLambda) * x, where(x < T(-kZeroFrom<T>), T(0.0) * x, negative));
  }
  template <class T>
  constexpr T slope(T x) const {
    const T negative = exp_times(T(kLambda * kAlpha) * (x + T(1.0)), x);
    return where(x >= T(0.0), T(kLambda), where(x < T(-kZeroFrom<T>), T(0.0) * x, negative));
  }
  template <class T>
  constexpr T curvature(T x) const {
    const T negative = exp_times(T(kLambda * kAlpha) * (x + T(2.0)), x);
    return where(x >= T(0.0), T(0.0), where(x < T(-kZeroFrom<T>), T(0.0) * x, negative));
  }
};

}  // namespace activations_ext
