#pragma once

#include "../contract/activation.h"
#include "../math/math.h"

namespace activations_ext {

// max(x, 0)², So et al., arXiv:2109.08668.
struct SquaredReLU {
  static constexpr const char* kName = "squared_relu";
  static constexpr Shape kShape = Shape::kBent;
  static constexpr std::array<Parameter, 0> kParameters = {};

  template <class T>
  constexpr T value(T x) const {
    return where(x <= T(0.0), T(0.0), x * x);
  }
  template <class T>
  constexpr T slope(T x) const {
    return where(x <= T(0.0), T(0.0), x + x);
  }
  template <class T>
  constexpr T curvature(T x) const {
    return where(x <= T(0.0), T(0.0), T(2.0));
  }
};

}  // namespace activations_ext
