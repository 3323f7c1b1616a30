#pragma once

#include "../contract/activation.h"
#include "../math/sigmoidal.h"

namespace activations_ext {

// σ(x) = 1/(1 + e⁻ˣ)
struct Sigmoid {
  static constexpr const char* kName = "sigmoid";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};

  template <class T>
  constexpr T value(T x) const {
    return logistic(x);
  }
  template <class T>
  constexpr T slope_of_result(T y) const {
    return y * (T(1.0) - y);
  }
  template <class T>
  constexpr T curvature_of_result(T y) const {
    return T(1.0) - y - y;
  }
};

// log σ(x) = −log(1 + e⁻ˣ)
struct LogSigmoid {
  static constexpr const char* kName = "logsigmoid";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};

  template <class T>
  constexpr T value(T x) const {
    return -log1p_exp(-x);
  }
  template <class T>
  constexpr T slope(T x) const {
    return logistic(-x);
  }
  template <class T>
  constexpr T curvature(T x) const {
    return -logistic_slope(x);
  }
};

}  // namespace activations_ext
