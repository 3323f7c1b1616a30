#pragma once

#include "../contract/activation.h"
#include "../math/math.h"

namespace activations_ext {

// max(x, 0). Slope 0 at the kink.
struct ReLU {
  static constexpr const char* kName = "relu";
  static constexpr Shape kShape = Shape::kGate;
  static constexpr std::array<Parameter, 0> kParameters = {};

  template <class T>
  constexpr T value(T x) const {
    return where(x < T(0.0), T(0.0), x);
  }
  template <class T>
  constexpr T slope_of_result(T y) const {
    return where(y <= T(0.0), T(0.0), T(1.0));
  }
};

}  // namespace activations_ext
