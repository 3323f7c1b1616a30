#pragma once

#include "../activation.h"
#include "../math.h"

namespace activations_ext {

// x clamped to [min_val, max_val]. Slope 0 at both kinks.
struct Hardtanh {
  static constexpr const char* kName = "hardtanh";
  static constexpr Shape kShape = Shape::kPiecewiseLinear;
  static constexpr std::array kParameters = {Parameter{"min_val", -1.0}, Parameter{"max_val", 1.0}};
  double min_val, max_val;

  constexpr bool saves_result() const { return true; }

  template <class T>
  constexpr T value(T x) const {
    return at_most(at_least(x, min_val), max_val);
  }
  template <class T>
  constexpr T slope_of_result(T y) const {
    return where((y > T(min_val)) & (y < T(max_val)), T(1.0), T(0.0));
  }
};

// x clamped to [0, 6].
struct ReLU6 : Hardtanh {
  static constexpr const char* kName = "relu6";
  static constexpr std::array<Parameter, 0> kParameters = {};
  constexpr ReLU6() : Hardtanh{0.0, 6.0} {}
};

}  // namespace activations_ext
