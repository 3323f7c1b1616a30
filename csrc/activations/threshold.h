#pragma once

#include "../activation.h"
#include "../math.h"

namespace activations_ext {

// x where x > threshold, else `value`. The result tells the side as long as that is not above the
// threshold.
struct Threshold {
  static constexpr const char* kName = "threshold";
  static constexpr Shape kShape = Shape::kPiecewiseLinear;
  static constexpr std::array kParameters = {Parameter{"threshold"}, Parameter{"value"}};
  double threshold, replacement;

  constexpr bool saves_result() const { return replacement <= threshold; }

  template <class T>
  constexpr T value(T x) const {
    return where(x <= T(threshold), T(replacement), x);
  }
  template <class T>
  constexpr T slope(T x) const {
    return where(x <= T(threshold), T(0.0), T(1.0));
  }
  template <class T>
  constexpr T slope_of_result(T y) const {
    return slope(y);
  }
};

}  // namespace activations_ext
