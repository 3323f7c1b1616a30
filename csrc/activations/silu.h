#pragma once

#include "../contract/activation.h"
#include "../math/sigmoidal.h"

namespace activations_ext {

// x·σ(x): Elfwing et al., arXiv:1702.03118; Ramachandran et al. (swish), arXiv:1710.05941.
struct SiLU {
  static constexpr const char* kName = "silu";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};

  template <class T>
  constexpr T value(T x) const {
    return over_one_plus_exp(x, -x);  // −∞/∞ is NaN, as torch's
  }
  // σ + x·σ·(1 − σ); NaN at ±∞, as torch's.
  template <class T>
  constexpr T slope(T x) const {
    const T e = decay(abs(x));
    const T inverse = T(1.0) / (e + T(1.0));
    const T tail = e * inverse;  // σ(−|x|)
    return madd(x * tail, inverse, where(x < T(0.0), tail, inverse));
  }
  template <class T>
  constexpr T curvature(T x) const {
    const T sigma = logistic(x);
    return logistic_slope(x) * (T(2.0) + x * (T(1.0) - sigma - sigma));
  }
};

}  // namespace activations_ext
