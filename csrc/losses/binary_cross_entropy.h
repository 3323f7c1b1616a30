// The loss of one logit x whose class is 1 with probability t: −w·(p·t·log σ(x) + (1−t)·log σ(−x)),
// p the weight of the positive class. Both logarithms are sums of non-negative terms, so neither
// loses digits; the usual (1−t)·x + … does at confident logits.
#pragma once

#include "../math/math.h"

namespace activations_ext {

struct BinaryCrossEntropy {
  template <class T>
  static constexpr T value(T x, T target, T pos_weight, T weight) {
    const T tail = log1p_unit(decay(abs(x)));
    const T positive = at_least(-x, 0.0) + tail, negative = at_least(x, 0.0) + tail;
    return weight * madd(pos_weight * target, positive, (T(1.0) - target) * negative);
  }
  // of x
  template <class T>
  static constexpr T slope(T x, T target, T pos_weight, T weight) {
    const T e = decay(abs(x)), larger = T(1.0) / (T(1.0) + e), smaller = e * larger;
    const auto left = x < T(0.0);
    const T p = where(left, smaller, larger), q = where(left, larger, smaller);
    return weight * ((T(1.0) - target) * p - pos_weight * target * q);
  }
};

}  // namespace activations_ext
