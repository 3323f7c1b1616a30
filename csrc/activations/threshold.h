#pragma once

#include "../contract/activation.h"
#include "../math/math.h"

namespace activations_ext {

// x where x > threshold, else `value`. The threshold has the precision that computes, as in torch.
struct Threshold {
  static constexpr const char* kName = "threshold";
  static constexpr Shape kShape = Shape::kGate;
  static constexpr std::array kParameters = {Parameter{"threshold"},
                                             Parameter{"value", Role::kValue}};
  double threshold, replacement;

  template <class T>
  constexpr T value(T x) const {
    return where(x <= T(threshold), T(replacement), x);
  }
  template <class T>
  constexpr T slope(T x) const {
    return where(x <= T(threshold), T(0.0), T(1.0));
  }
};

}  // namespace activations_ext
