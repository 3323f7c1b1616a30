#pragma once

#include "../contract/activation.h"
#include "../math/math.h"

namespace activations_ext {

// x/(1 + |x|). The second derivative jumps from 2 to −2 at 0 and is taken as 0 there, as torch's.
struct Softsign {
  static constexpr const char* kName = "softsign";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};

  template <class T>
  constexpr T value(T x) const {
    return x / (abs(x) + T(1.0));
  }
  template <class T>
  constexpr T slope(T x) const {
    const T inverse = T(1.0) / (abs(x) + T(1.0));
    return madd(T(0.0), x, inverse * inverse);  // NaN at ±∞, as torch's and as the value's
  }
  template <class T>
  constexpr T curvature(T x) const {
    const T inverse = T(1.0) / (abs(x) + T(1.0));
    const T magnitude = T(2.0) * inverse * inverse * inverse;
    return where(x == T(0.0), T(0.0), copysign(magnitude, -x));
  }
};

}  // namespace activations_ext
