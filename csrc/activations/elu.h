#pragma once

#include "../activation.h"
#include "../math.h"

namespace activations_ext {

// scale·x for x ≥ 0, scale·alpha·(e^(x/width) − 1) otherwise: ELU, SELU and CELU are its members.
// The result tells the input as long as alpha > 0: there e^(x/width)·alpha·scale = y + alpha·scale.
template <bool kStretched>  // width may differ from 1
struct ExponentialLinear {
  static constexpr Shape kShape = Shape::kSmooth;
  double alpha, scale = 1.0, width = 1.0;

  constexpr bool saves_result() const { return alpha > 0; }

  template <class T>
  constexpr T value(T x) const {
    T left;
    if constexpr (kStretched) {
      left = expm1_times(T(scale * alpha / width), x, width);
    } else {
      left = expm1_times(T(scale * alpha), x);
    }
    return where(x < T(0.0), left, T(scale) * x);
  }
  template <class T>
  constexpr T slope(T x) const {
    const T left = left_exp(scale * alpha / width, x);
    return where(x <= T(0.0), left, T(scale));
  }
  template <class T>
  constexpr T curvature(T x) const {
    const T left = left_exp(scale * alpha / width / width, x);
    return where(x <= T(0.0), left, T(0.0));
  }
  template <class T>
  constexpr T slope_of_result(T y) const {
    return where(y <= T(0.0), over_width(y + T(scale * alpha)), T(scale));
  }
  template <class T>
  constexpr T curvature_of_result(T y) const {
    return where(y <= T(0.0), T(1.0 / width), T(0.0));
  }

 private:
  template <class T>
  constexpr T over_width(T x) const {
    if constexpr (kStretched) return x / T(width);
    return x;
  }
  // factor·e^(x/width)
  template <class T>
  constexpr T left_exp(double factor, T x) const {
    if constexpr (kStretched) return exp_times(T(factor), x, width);
    return exp_times(T(factor), x);
  }
};

// Clevert et al., arXiv:1511.07289.
struct ELU : ExponentialLinear<false> {
  static constexpr const char* kName = "elu";
  static constexpr std::array kParameters = {Parameter{"alpha", 1.0}};
  constexpr explicit ELU(double alpha) : ExponentialLinear<false>{alpha} {}
};

// Klambauer et al., arXiv:1706.02515: the fixed point of mean 0 and variance 1.
struct SELU : ExponentialLinear<false> {
  static constexpr const char* kName = "selu";
  static constexpr std::array<Parameter, 0> kParameters = {};
  constexpr SELU() : ExponentialLinear<false>{1.67326324235437728482, 1.05070098735548049342} {}
};

// Barron, arXiv:1704.07483: continuously differentiable for every alpha.
struct CELU : ExponentialLinear<true> {
  static constexpr const char* kName = "celu";
  static constexpr std::array kParameters = {Parameter{"alpha", 1.0}};
  constexpr explicit CELU(double alpha) : ExponentialLinear<true>{alpha, 1.0, alpha} {}
};

}  // namespace activations_ext
