#pragma once

#include "../contract/activation.h"
#include "../math/math.h"

namespace activations_ext {

// x clamped to [min_val, max_val]. Slope 0 at both kinks.
struct Hardtanh {
  static constexpr const char* kName = "hardtanh";
  static constexpr Shape kShape = Shape::kGate;
  static constexpr std::array kParameters = {Parameter{"min_val", Role::kValue},
                                             Parameter{"max_val", Role::kValue}};
  double min_val, max_val;

  template <class T>
  constexpr T value(T x) const {
    return at_most(at_least(x, min_val), max_val);
  }
  template <class T>
  constexpr T slope(T x) const {
    return where(x <= T(min_val), T(0.0), where(x >= T(max_val), T(0.0), T(1.0)));
  }
};

// x clamped to [0, 6].
struct ReLU6 : Hardtanh {
  static constexpr const char* kName = "relu6";
  static constexpr std::array<Parameter, 0> kParameters = {};
  constexpr ReLU6() : Hardtanh{0.0, 6.0} {}
};

}  // namespace activations_ext
