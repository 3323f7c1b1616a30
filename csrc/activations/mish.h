#pragma once

#include "../activation.h"
#include "../math.h"

namespace activations_ext {

// x·tanh(log(1 + eˣ)): Misra, arXiv:1908.08681. One exponential is enough: with w = eˣ and
// n = w(w + 2), tanh(log(1 + w)) = n/(n + 2). For x ≥ 0 both are divided by w², so that only
// e = e^(−|x|) ≤ 1 appears: (1 + 2e)/(1 + 2e + 2e²).
struct Mish {
  static constexpr const char* kName = "mish";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};

  constexpr bool saves_result() const { return false; }

  template <class T>
  constexpr T value(T x) const {
    const T e = exp(-abs(x));
    const T negative = exp_times(madd(x, e, x + x), -abs(x));
    const T numerator = where(x < T(0.0), negative, madd(x, e + e, x));
    return where(x < T(kUnderflow<T>), T(0.0) * x, numerator / denominator(x, e));
  }
  // n/(n + 2) + 4x·w(1 + w)/(n + 2)²
  template <class T>
  constexpr T slope(T x) const {
    const T e = exp(-abs(x));
    const T inverse = T(1.0) / denominator(x, e);
    const T tanh = where(x < T(0.0), e * (e + T(2.0)), T(2.0) * e + T(1.0)) * inverse;
    const T product = e * (e + T(1.0)) * where(x < T(0.0), T(1.0), e);
    return tanh + T(4.0) * product * inverse * inverse * x;
  }
  // t'·(2 + x(1 − σ − 2tσ)), t = tanh(log(1 + eˣ)), t' = σ(1 − t²) = 4w(1 + w)/(n + 2)²
  template <class T>
  constexpr T curvature(T x) const {
    const T e = exp(-abs(x));
    const T inverse = T(1.0) / denominator(x, e);
    const T tanh = where(x < T(0.0), e * (e + T(2.0)), T(2.0) * e + T(1.0)) * inverse;
    const T tanh_slope =
        T(4.0) * e * (e + T(1.0)) * where(x < T(0.0), T(1.0), e) * inverse * inverse;
    const T sigma = where(x < T(0.0), e, T(1.0)) / (e + T(1.0));
    return tanh_slope * (T(2.0) + x * (T(1.0) - sigma - T(2.0) * tanh * sigma));
  }

 private:
  template <class T>
  static constexpr T denominator(T x, T e) {
    return where(x < T(0.0), madd(e, e + T(2.0), T(2.0)), madd(e + e, e + T(1.0), T(1.0)));
  }
};

}  // namespace activations_ext
