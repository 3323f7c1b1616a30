#pragma once

#include "../activation.h"
#include "../math.h"

namespace activations_ext {

// x·t(x), t(x) = tanh(log(1 + eˣ)): Misra, arXiv:1908.08681. One exponential, e = e^(−|x|) ≤ 1, is
// enough. With w = eˣ and n = w² + 2w, t = n/(n + 2); for x ≥ 0 both are divided by w².
struct Mish {
  static constexpr const char* kName = "mish";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};

  constexpr bool saves_result() const { return false; }

  template <class T>
  constexpr T value(T x) const {
    const Quotient<T> t(x);
    // In the tail x(e + 2)·e, whose scaling by 2ⁿ comes last, as it may lose bits.
    const T tail = exp_times(madd(x, t.e, x + x), -abs(x));
    const T numerator = where(x < T(-1.0), tail, x * t.numerator);
    return where(x < T(kUnderflow<T>), T(0.0) * x, numerator / t.denominator);
  }
  // t + x·t'
  template <class T>
  constexpr T slope(T x) const {
    const Quotient<T> t(x);
    const T inverse = T(1.0) / t.denominator;
    return madd(t.slope(inverse), x, t.numerator * inverse);
  }
  // 2t' + x·t'', and t'' = t'·(1 − σ − 2tσ)
  template <class T>
  constexpr T curvature(T x) const {
    const Quotient<T> t(x);
    const T inverse = T(1.0) / t.denominator;
    const T sigma = where(x < T(0.0), t.e, T(1.0)) / (t.e + T(1.0));
    const T bend = T(1.0) - sigma - T(2.0) * (t.numerator * inverse) * sigma;
    const T slope = t.slope(inverse);
    return madd(slope * x, bend, slope + slope);
  }

 private:
  template <class T>
  struct Quotient {
    T e, one_or_e, numerator, denominator;

    constexpr explicit Quotient(T x) : e(exp(-abs(x))) {
      const auto negative = x < T(0.0);
      const T e_or_one = where(negative, e, T(1.0));
      one_or_e = where(negative, T(1.0), e);
      numerator = madd(e_or_one, e_or_one, e + e);
      denominator = madd(one_or_e + one_or_e, one_or_e, numerator);
    }
    // t' = 4w(1 + w)/(n + 2)²
    constexpr T slope(T inverse) const {
      return T(4.0) * e * (e + T(1.0)) * one_or_e * inverse * inverse;
    }
  };
};

}  // namespace activations_ext
