#pragma once

#include "../contract/activation.h"
#include "../math/math.h"

namespace activations_ext {

// 0 for |x| ≤ lambd, else x. Slope 0 at both kinks.
struct Hardshrink {
  static constexpr const char* kName = "hardshrink";
  static constexpr Shape kShape = Shape::kGate;
  static constexpr std::array kParameters = {Parameter{"lambd", Role::kBound}};
  double lambd;

  template <class T>
  constexpr T value(T x) const {
    return where(abs(x) <= T(lambd), T(0.0), x);
  }
  template <class T>
  constexpr T slope(T x) const {
    return where(abs(x) <= T(lambd), T(0.0), T(1.0));
  }
};

// x moved towards 0 by lambd, 0 for |x| ≤ lambd. Slope 0 at both kinks.
struct Softshrink {
  static constexpr const char* kName = "softshrink";
  static constexpr Shape kShape = Shape::kGate;
  static constexpr std::array kParameters = {Parameter{"lambd", Role::kValue}};
  double lambd;

  template <class T>
  constexpr T value(T x) const {
    return where(abs(x) <= T(lambd), T(0.0), x - copysign(T(lambd), x));
  }
  template <class T>
  constexpr T slope(T x) const {
    return where(abs(x) <= T(lambd), T(0.0), T(1.0));
  }
};

}  // namespace activations_ext
