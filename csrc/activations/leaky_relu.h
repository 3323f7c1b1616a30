#pragma once

#include "../contract/activation.h"
#include "../math/math.h"

namespace activations_ext {

// x for x > 0, negative_slope·x otherwise. The sign of the result tells the side as long as
// negative_slope ≥ 0.
struct LeakyReLU {
  static constexpr const char* kName = "leaky_relu";
  static constexpr Shape kShape = Shape::kTwoSlopes;
  static constexpr std::array kParameters = {Parameter{"negative_slope"}};
  double negative_slope;

  constexpr bool result_tells_slope() const { return negative_slope >= 0; }

  template <class T>
  constexpr T value(T x) const {
    return where(x > T(0.0), x, T(negative_slope) * x);
  }
  template <class T>
  constexpr T slope(T x) const {
    return where(x > T(0.0), T(1.0), T(negative_slope));
  }
  template <class T>
  constexpr T slope_of_result(T y) const {
    return slope(y);
  }
};

}  // namespace activations_ext
