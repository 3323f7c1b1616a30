// Sigmoidal functions that several activations are made of.
#pragma once

#include "math.h"

namespace activations_ext {

// σ(x) = 1/(1 + e⁻ˣ): 2 ULP for any x
template <class T>
constexpr T logistic(T x) {
  return over_one_plus_exp(T(1.0), -x);
}

// σ'(x) = e/(1 + e)², e = e^(−|x|): 4.9 ULP for |x| ≤ 103
template <class T>
constexpr T logistic_slope(T x) {
  const T e = decay(abs(x));
  const T inverse = T(1.0) / (e + T(1.0));
  return e * inverse * inverse;
}

// log(1 + eˣ) = max(x, 0) + log(1 + e^(−|x|)): 1.75 ULP for −103 ≤ x
template <class T>
constexpr T log1p_exp(T x) {
  return at_least(x, 0.0) + log1p_unit(decay(abs(x)));
}

// x·F(x) of x and |x|·F(−|x|), where F(x) + F(−x) = 1; NaN at −∞, as torch's.
template <class T>
constexpr T gated(T x, T tail) {
  return where(x < T(0.0), T(0.0) * x, x) - tail;
}

}  // namespace activations_ext
