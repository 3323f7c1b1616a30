#pragma once

#include "../contract/activation.h"
#include "../math/math.h"

namespace activations_ext {

// (x + 3)/6 clamped to [0, 1]. Slope 0 at both kinks.
struct Hardsigmoid {
  static constexpr const char* kName = "hardsigmoid";
  static constexpr Shape kShape = Shape::kGate;
  static constexpr std::array<Parameter, 0> kParameters = {};

  template <class T>
  constexpr T value(T x) const {
    return at_most(at_least(x + T(3.0), 0.0), 6.0) / T(6.0);
  }
  template <class T>
  constexpr T slope(T x) const {
    return where((x > T(-3.0)) & (x < T(3.0)), T(1.0 / 6.0), T(0.0));
  }
};

// x·hardsigmoid(x): Howard et al., arXiv:1905.02244. Slope 0 at −3 and 1 at 3.
struct Hardswish {
  static constexpr const char* kName = "hardswish";
  static constexpr Shape kShape = Shape::kBent;
  static constexpr std::array<Parameter, 0> kParameters = {};

  template <class T>
  constexpr T value(T x) const {
    return x * Hardsigmoid{}.value(x);
  }
  template <class T>
  constexpr T slope(T x) const {
    const T inside = x / T(3.0) + T(0.5);
    return where(x <= T(-3.0), T(0.0), where(x >= T(3.0), T(1.0), inside));
  }
  template <class T>
  constexpr T curvature(T x) const {
    return where((x > T(-3.0)) & (x < T(3.0)), T(1.0 / 3.0), T(0.0));
  }
};

}  // namespace activations_ext
