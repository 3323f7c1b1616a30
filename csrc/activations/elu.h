#pragma once

#include "../activation.h"
#include "../math.h"

namespace activations_ext {

// scale·x for x > 0, scale·alpha·(e^(x/width) − 1) otherwise: ELU, SELU and CELU are its members.
// The result tells the input as long as alpha > 0: there e^(x/width)·alpha·scale = y + alpha·scale.
struct ExponentialLinear {
  static constexpr Shape kShape = Shape::kSmooth;
  double alpha, scale = 1.0, width = 1.0;

  constexpr bool saves_result() const { return alpha > 0; }

  template <class T>
  constexpr T value(T x) const {
    return where(x > T(0.0), T(scale) * x, T(scale * alpha) * expm1(x * T(1.0 / width)));
  }
  template <class T>
  constexpr T slope(T x) const {
    return where(x <= T(0.0), exp_times(T(scale * alpha / width), x * T(1.0 / width)), T(scale));
  }
  template <class T>
  constexpr T curvature(T x) const {
    return where(x <= T(0.0), exp_times(T(scale * alpha / width / width), x * T(1.0 / width)), T(0.0));
  }
  template <class T>
  constexpr T slope_of_result(T y) const {
    return where(y <= T(0.0), (y + T(scale * alpha)) * T(1.0 / width), T(scale));
  }
  template <class T>
  constexpr T curvature_of_result(T y) const {
    return where(y <= T(0.0), T(1.0 / width), T(0.0));
  }
};

// Clevert et al., arXiv:1511.07289.
struct ELU : ExponentialLinear {
  static constexpr const char* kName = "elu";
  static constexpr std::array kParameters = {Parameter{"alpha", 1.0}};
  constexpr explicit ELU(double alpha) : ExponentialLinear{alpha} {}
};

// Klambauer et al., arXiv:1706.02515: the fixed point of mean 0 and variance 1.
struct SELU : ExponentialLinear {
  static constexpr const char* kName = "selu";
  static constexpr std::array<Parameter, 0> kParameters = {};
  constexpr SELU() : ExponentialLinear{1.6732632423543772848170429916717, 1.0507009873554804934193349852946} {}
};

// Barron, arXiv:1704.07483: continuously differentiable for every alpha.
struct CELU : ExponentialLinear {
  static constexpr const char* kName = "celu";
  static constexpr std::array kParameters = {Parameter{"alpha", 1.0}};
  constexpr explicit CELU(double alpha) : ExponentialLinear{alpha, 1.0, alpha} {}
};

}  // namespace activations_ext
