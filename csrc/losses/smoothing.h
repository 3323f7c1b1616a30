// Label smoothing of a target that is a probability for each of C classes: (1 − s)·t + s/C.
#pragma once

#include <cstdint>

namespace activations_ext {

struct Smoothing {
  double kept = 1.0;   // 1 − s
  double share = 0.0;  // s/C

  static constexpr Smoothing of(double smoothing, int64_t classes) {
    return {1 - smoothing, smoothing / double(classes)};
  }
  template <class T>
  constexpr T value(T t) const {
    return T(kept) * t + T(share);
  }
};

}  // namespace activations_ext
