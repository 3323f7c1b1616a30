#pragma once

#include "../contract/activation.h"
#include "../math/math.h"

namespace activations_ext {

// Dropout that keeps the mean of (x − minimum): with probability p a unit becomes `minimum`, else
// its distance from the minimum is scaled by 1/(1 − p). With minimum 0 it is inverted dropout.
// Zhang and Li, arXiv:1807.10117, for SERLU with its minimum −λα/e. The gradient is the same map of
// grad_output with minimum 0.
struct ShiftDropout {
  static constexpr const char* kName = "shift_dropout";
  static constexpr std::array kParameters = {Parameter{"p"}, Parameter{"minimum"}};
  double p, minimum;

  // `uniform` is the element's random number in [0, 1); the second argument is the gate of others.
  template <class T>
  constexpr T value(T x, T, T uniform) const {
    const T kept = madd(x - T(minimum), T(1.0 / (1.0 - p)), T(minimum));
    return where(uniform < T(p), T(minimum), kept);
  }
};

}  // namespace activations_ext
