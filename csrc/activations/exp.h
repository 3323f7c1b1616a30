#pragma once

#include "../contract/activation.h"
#include "../math/math.h"

namespace activations_ext {

struct Exp {
  static constexpr const char* kName = "exp";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};

  template <class T>
  constexpr T value(T x) const {
    return exp(x);
  }
  template <class T>
  constexpr T slope_of_result(T y) const {
    return y;
  }
  template <class T>
  constexpr T curvature_of_result(T) const {
    return T(1.0);
  }
};

}  // namespace activations_ext
