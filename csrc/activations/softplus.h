#pragma once

#include "../contract/activation.h"
#include "../math/sigmoidal.h"

namespace activations_ext {

// log(1 + e^(beta·x))/beta, and x itself where beta·x > threshold.
struct Softplus {
  static constexpr const char* kName = "softplus";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array kParameters = {Parameter{"beta"}, Parameter{"threshold"}};
  double beta, threshold;

  template <class T>
  constexpr T value(T x) const {
    const T scaled = T(beta) * x;
    return where(scaled > T(threshold), x, log1p_exp(scaled) * T(1.0 / beta));
  }
  template <class T>
  constexpr T slope(T x) const {
    const T scaled = T(beta) * x;
    return where(scaled > T(threshold), T(1.0), logistic(scaled));
  }
  template <class T>
  constexpr T curvature(T x) const {
    const T scaled = T(beta) * x;
    return where(scaled > T(threshold), T(0.0), T(beta) * logistic_slope(scaled));
  }
};

}  // namespace activations_ext
