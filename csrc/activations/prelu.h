#pragma once

#include "../math/math.h"

namespace activations_ext {

// x for x > 0, weight·x otherwise: He et al., arXiv:1502.01852. The weight is learned.
struct PReLU {
  template <class T>
  static constexpr T value(T x, T weight) {
    return where(x > T(0.0), x, weight * x);
  }
  // The gradients of a loss whose gradient at the result is `grad`.
  template <class T>
  static constexpr T grad_input(T grad, T x, T weight) {
    return where(x > T(0.0), grad, weight * grad);
  }
  template <class T>
  static constexpr T grad_weight(T grad, T x) {
    return where(x > T(0.0), T(0.0), x * grad);
  }
};

}  // namespace activations_ext
