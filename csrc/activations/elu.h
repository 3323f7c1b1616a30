#pragma once

#include "../contract/activation.h"
#include "../math/math.h"

namespace activations_ext {

// scale·x for x ≥ 0, scale·alpha·(e^(x/width) − 1) otherwise: ELU, SELU and CELU are its members.
template <bool kStretched>  // width may differ from 1
struct ExponentialLinear {
  static constexpr Shape kShape = Shape::kSmooth;
  double alpha, scale = 1.0, width = 1.0;

  // Then the result, too, tells the slope: e^(x/width)·alpha·scale = y + alpha·scale.
  constexpr bool is_one_to_one() const { return alpha >= 0 && alpha < infinity<double>(); }

  template <class T>
  constexpr T value(T x) const {
    T left;
    if constexpr (kStretched) {
      left = expm1_times(T(scale * alpha / width), x, width);
    } else if (std::isfinite(alpha)) {
      left = expm1_times(T(scale * alpha), x);
    } else {
      left = T(alpha) * expm1_times(T(scale), x);  // its own sum would be ∞ − ∞
    }
    return where(x < T(0.0), left, T(scale) * x);
  }
  template <class T>
  constexpr T slope(T x) const {
    const T left = left_exp(scale * alpha / width, x);
    return where(x > T(0.0), T(scale), left);
  }
  template <class T>
  constexpr T curvature(T x) const {
    const T left = left_exp(scale * alpha / width / width, x);
    return where(x > T(0.0), T(0.0), left);
  }
  template <class T>
  constexpr T slope_of_result(T y) const {
    return where(y > T(0.0), T(scale), over_width(y + T(scale * alpha)));
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
    if (!std::isfinite(factor)) return T(factor) * exp(x);
    return exp_times(T(factor), x);
  }
};

// Clevert et al., arXiv:1511.07289.
struct ELU : ExponentialLinear<false> {
  static constexpr const char* kName = "elu";
  static constexpr std::array kParameters = {Parameter{"alpha"}};
  constexpr explicit ELU(double alpha) : ExponentialLinear<false>{alpha} {}
  constexpr bool result_tells_slope() const { return is_one_to_one(); }
};

// Klambauer et al., arXiv:1706.02515: the fixed point of mean 0 and variance 1.
struct SELU : ExponentialLinear<false> {
  static constexpr const char* kName = "selu";
  static constexpr std::array<Parameter, 0> kParameters = {};
  constexpr SELU() : ExponentialLinear<false>{1.67326324235437728482, 1.05070098735548049342} {}
  constexpr bool result_tells_slope() const { return true; }
};

// Barron, arXiv:1704.07483: continuously differentiable for every alpha.
struct CELU : ExponentialLinear<true> {
  static constexpr const char* kName = "celu";
  static constexpr std::array kParameters = {Parameter{"alpha"}};
  constexpr explicit CELU(double alpha) : ExponentialLinear<true>{alpha, 1.0, alpha} {}
  constexpr bool result_tells_slope() const { return is_one_to_one(); }
};

}  // namespace activations_ext
