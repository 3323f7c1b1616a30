// The negative log-likelihood of a target y under a mixture of Gaussians (Bishop 1994, Mixture
// density networks), with weights φ = softmax(logits) and standard deviations σ = f(scale) + floor:
//
//   −log Σ_c φ_c·Π_d N(y_d; μ_cd, σ_cd) = lse(logits) − lse(logits + s) + D/2·log 2π,
//   s_c = Σ_d (−½z² − log σ),  z = (y − μ)/σ
//
// and its gradient by the responsibilities r = softmax(logits + s): φ − r of the logits, −r·z/σ of
// a mean, r·(1 − z²)·σ'/σ of a scale.
#pragma once

#include "../activations/softplus.h"
#include "../device/mixture_job.h"
#include "shared.h"

namespace activations_ext {

template <class T>
constexpr bool kIsDouble = std::is_same_v<typename NumberOf<T>::type, double>;

// The range of standard deviations: from the smallest normal number to a finite one, so that no
// product is 0·∞ and no exponential overflows.
struct ScaleLimits {
  double least, largest, log_least, log_largest;
};
constexpr ScaleLimits scale_limits(bool is_double) {
  return is_double ? ScaleLimits{0x1p-1022, 0x1p1023, -708.3964185322641, 709.0}
                   : ScaleLimits{0x1p-126, 0x1p127, -87.33654475055310, 88.0};
}
// f(x), and f'(x) from x and y = f(x).
struct ExpScale {
  template <class T>
  static constexpr T value(T x, const ScaleLimits& limits) {
    return exp(at_most(x, limits.log_largest));
  }
  template <class T>
  static constexpr T slope(T, T y) {
    return y;
  }
};
struct SoftplusScale {
  template <class T>
  static constexpr T value(T x, const ScaleLimits&) {
    return log1p_exp(x);
  }
  template <class T>
  static constexpr T slope(T x, T) {
    return logistic(x);
  }
};
// ELU + 1
struct EluScale {
  template <class T>
  static constexpr T value(T x, const ScaleLimits&) {
    return where(x > T(0.0), x + T(1.0), exp(at_most(x, 0.0)));
  }
  template <class T>
  static constexpr T slope(T x, T y) {
    return where(x > T(0.0), T(1.0), y);
  }
};
struct IdentityScale {
  template <class T>
  static constexpr T value(T x, const ScaleLimits&) {
    return x;
  }
  template <class T>
  static constexpr T slope(T, T) {
    return T(1.0);
  }
};

template <class T>
constexpr T limited(T sigma, const ScaleLimits& limits) {
  return at_most(at_least(sigma, limits.least), limits.largest);
}

// run(f)
template <class Run>
void with_scale(ScaleBy scale_by, Run run) {
  switch (scale_by) {
    case ScaleBy::kExp:
      return run(ExpScale());
    case ScaleBy::kSoftplus:
      return run(SoftplusScale());
    case ScaleBy::kElu:
      return run(EluScale());
    case ScaleBy::kIdentity:
      return run(IdentityScale());
  }
}

// A target's distance from the mean of a component, in one dimension.
template <class T>
struct Deviation {
  T z, inverse, log_scale, log_slope;  // 1/σ, log σ, σ'/σ

  template <class F>
  static constexpr Deviation of(F, T target, T mean, T scale, double floor,
                                ScaleLimits limits = scale_limits(kIsDouble<T>)) {
    if constexpr (std::is_same_v<F, ExpScale>) {
      if (floor == 0) {  // the logarithm is there already, and no division is needed
        const T log_sigma = at_most(at_least(scale, limits.log_least), limits.log_largest);
        const T inverse = exp(-log_sigma);
        return {(target - mean) * inverse, inverse, log_sigma, T(1.0)};
      }
    }
    const T y = F::value(scale, limits);
    const T sigma = limited(y + T(floor), limits);
    const T inverse = T(1.0) / sigma;
    return {(target - mean) * inverse, inverse, log(sigma), F::slope(scale, y) * inverse};
  }
  constexpr T log_density() const { return madd(T(-0.5) * z, z, -log_scale); }
  // of the component's negative log-likelihood
  constexpr T mean_slope() const { return -(z * inverse); }
  constexpr T scale_slope() const { return (T(1.0) - z * z) * log_slope; }
};

// D/2·log 2π
constexpr double normalizer(int64_t dimensions) { return 0.918938533204672742 * dimensions; }

}  // namespace activations_ext
