// What becomes of a logit x before its softmax: scale·x, or with a softcap cap·tanh(scale·x/cap).
#pragma once

#include "../activations/tanh.h"

namespace activations_ext {

// It must increase: the largest logit stays the largest.
struct LogitMap {
  double cap = 0.0;    // 0 for none
  double scale = 1.0;  // positive

  constexpr bool is_identity() const { return cap == 0 && scale == 1; }
  template <class T>
  constexpr T value(T x) const {
    if (cap == 0) return T(scale) * x;
    return T(cap) * value_of(Tanh{}, x * T(scale / cap));
  }
  // of f
  template <class T>
  constexpr T slope(T f) const {
    if (cap == 0) return T(scale);  // for infinite f, too
    const T ratio = f * T(1.0 / cap);
    return T(scale) * (T(1.0) - ratio * ratio);
  }
};

}  // namespace activations_ext
