// What one pass over a row of logits f₀, f₁, … accumulates, part by part: sums relative to the
// largest logit so far (Milakov and Gimelshein, arXiv:1805.02867).
#pragma once

#include "../math/math.h"

namespace activations_ext {

template <class T>
struct RowSums {
  T maximum = -infinity<T>();
  T sum = T(0.0);     // Σ e^(f−m)
  T spread = T(0.0);  // Σ e^(f−m)·(f−m), for the entropy
  T dot = T(0.0);     // Σ y·(f−m), y the target's weight of each class
  T mass = T(0.0);    // Σ y

  // m, the maximum, or 0 where all logits are −∞: finite, so that −∞ − m is not NaN.
  constexpr T reference() const { return where(maximum == -infinity<T>(), T(0.0), maximum); }

  // The same sums relative to a larger maximum. kAll: not `sum` alone.
  template <bool kAll>
  constexpr void rise(T to) {
    const T before = reference();
    const T lost = at_least(maximum - where(to == -infinity<T>(), T(0.0), to), -kZeroFrom<T>);
    maximum = to;
    const T scale = exp(lost);
    if constexpr (kAll) {
      const T shift = before - reference();
      spread = scale * madd(lost, sum, spread);
      dot = madd(shift, mass, dot);
    }
    sum = scale * sum;
  }
};

// e^d for d = f − m, and d clamped to where the exponential reaches 0: −∞·0 would be NaN.
template <class T>
struct Shifted {
  T d, e;
  constexpr explicit Shifted(T difference)
      : d(at_least(difference, -kZeroFrom<T>)), e(share(difference)) {}
};

}  // namespace activations_ext
