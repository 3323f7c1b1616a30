#pragma once

#include "../contract/activation.h"
#include "../math/math.h"

namespace activations_ext {

// x·t(x), t(x) = tanh(log(1 + eˣ)): Misra, arXiv:1908.08681. With w = eˣ and n = w² + 2w it is
// n/(n + 2); beyond kOne that is 1.
struct Mish {
  static constexpr const char* kName = "mish";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};

  // Every step of x·n/(n + 2) in two parts: their roundings would add up to 3.6 ULP.
  template <class T>
  constexpr T value(T x) const {
    if constexpr (kRoundsLater<T>) return plain(x);
    const auto [w, w_low] = exp_in_parts(at_most(x, kOne<T>));
    const T n = madd(w, w, w + w), d = n + T(2.0);
    const T n_low = madd(w, w, w + w - n) + (w_low + w_low) * (w + T(1.0));
    const T d_low = n - (d - T(2.0)) + n_low;
    const T t = n / d;
    const T remainder = madd(-t, d_low, madd(-t, d, n) + n_low);
    const T t_low = remainder * madd(T(-0.5), t, T(0.5));  // 1/d = (1 − t)/2
    const T y = x * t, product = y + madd(x, t_low, fma(x, t, -y));
    const T result = where(x > T(kOne<T>), x, copysign(product, x));  // −0 stays −0
    return or_far_left(x, result);
  }
  // The same within 4 ULP, in half of the instructions.
  template <class T>
  constexpr T short_value(T x) const {
    return or_far_left(x, plain(x));
  }
  // t + x·t', t' = 4w(1 + w)/(n + 2)²
  template <class T>
  constexpr T slope(T x) const {
    const Quotient<T> t(x);
    return madd(t.slope, x, t.value);
  }
  // 2t' + x·t'', and t'' = t'·(1 − σ − 2tσ)
  template <class T>
  constexpr T curvature(T x) const {
    const Quotient<T> t(x);
    const T sigma = t.w / (t.w + T(1.0));
    const T bend = T(1.0) - sigma - T(2.0) * t.value * sigma;
    return madd(t.slope * x, bend, t.slope + t.slope);
  }

 private:
  template <class T>
  static constexpr T plain(T x) {
    const T w = exp(at_most(x, 20.0)), n = madd(w, w, w + w);
    return where(x > T(20.0), x, x * (n / (n + T(2.0))));
  }
  // Far on the left e^x would lose digits before x·e^x does.
  template <class T>
  static constexpr T or_far_left(T x, T result) {
    const auto far = x < T(-80.0);
    if (!any(far)) return result;
    return where(far, where(x < T(-kZeroFrom<T>), T(0.0) * x, exp_times(x, x)), result);
  }

  template <class T>
  static constexpr double kOne = kIsFloat<T> ? 8.6 : 20.0;  // t is 1 to T's precision from here on

  // t and t', with one exponential and one division.
  template <class T>
  struct Quotient {
    T w, value, slope;

    constexpr explicit Quotient(T x) : w(exp(at_most(x, 20.0))) {
      const T n = madd(w, w, w + w), inverse = T(1.0) / (n + T(2.0));
      value = n * inverse;
      slope = where(x > T(20.0), T(0.0), T(4.0) * w * (w + T(1.0)) * inverse * inverse);
    }
  };
};

}  // namespace activations_ext
