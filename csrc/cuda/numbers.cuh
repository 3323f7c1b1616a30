// The numbers that compute on a GPU: float with the device's own elementary functions, in two
// grades. They have no `Number`, so that the maths is the plain formula on the functions below
// instead of the polynomials that suit a CPU.
#pragma once

#include "../math/math.h"

namespace activations_ext::cuda {

enum class Grade {
  kPrecise,  // CUDA's library: 1 to 4 ULP of float
  kQuick,    // the special function unit: 12 bits and more, for results that are rounded to 16 bits
};

template <Grade kGrade>
struct Real {
  float value;

  Real() = default;
  __host__ __device__ constexpr Real(float x) : value(x) {}
  __host__ __device__ constexpr Real(double x) : value(float(x)) {}
  __host__ __device__ constexpr explicit operator float() const { return value; }
  __host__ __device__ constexpr explicit operator double() const { return value; }

  friend __host__ __device__ Real operator+(Real a, Real b) { return a.value + b.value; }
  friend __host__ __device__ Real operator-(Real a, Real b) { return a.value - b.value; }
  friend __host__ __device__ Real operator*(Real a, Real b) { return a.value * b.value; }
  friend __host__ __device__ Real operator/(Real a, Real b) {
    if constexpr (kGrade == Grade::kPrecise) return a.value / b.value;
    return a.value * inverse(b.value);
  }
  friend __host__ __device__ Real operator-(Real a) { return -a.value; }
  __host__ __device__ Real& operator+=(Real b) { return *this = *this + b; }

  friend __host__ __device__ bool operator<(Real a, Real b) { return a.value < b.value; }
  friend __host__ __device__ bool operator>(Real a, Real b) { return a.value > b.value; }
  friend __host__ __device__ bool operator<=(Real a, Real b) { return a.value <= b.value; }
  friend __host__ __device__ bool operator>=(Real a, Real b) { return a.value >= b.value; }
  friend __host__ __device__ bool operator==(Real a, Real b) { return a.value == b.value; }

  friend __host__ __device__ Real where(bool condition, Real yes, Real no) {
    return condition ? yes : no;
  }
  friend __host__ __device__ Real abs(Real x) { return fabsf(x.value); }
  friend __host__ __device__ Real copysign(Real magnitude, Real sign) {
    return copysignf(magnitude.value, sign.value);
  }
  friend __host__ __device__ Real fma(Real a, Real b, Real c) {
    return fmaf(a.value, b.value, c.value);
  }
  friend __host__ __device__ Real madd(Real a, Real b, Real c) { return fma(a, b, c); }
  // NaN stays NaN in both.
  friend __host__ __device__ Real at_least(Real x, double low) {
    return x.value < float(low) ? Real(low) : x;
  }
  friend __host__ __device__ Real at_most(Real x, double high) {
    return x.value > float(high) ? Real(high) : x;
  }

 private:
  static __host__ __device__ float inverse(float x) {
#if defined(__CUDA_ARCH__)
    float result;
    asm("rcp.approx.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
#else
    return 1.0f / x;
#endif
  }
};

using Precise = Real<Grade::kPrecise>;
using Quick = Real<Grade::kQuick>;

inline __host__ __device__ Precise library_exp(Precise x) { return expf(x.value); }
inline __host__ __device__ Precise library_log(Precise x) { return logf(x.value); }
inline __host__ __device__ Precise library_expm1(Precise x) { return expm1f(x.value); }
inline __host__ __device__ Precise library_log1p(Precise x) { return log1pf(x.value); }
inline __host__ __device__ Precise normal_tail(Precise a) {
#if defined(__CUDA_ARCH__)
  return normcdff(-a.value);
#else
  return activations_ext::normal_tail(double(a.value));
#endif
}

inline __host__ __device__ Quick library_exp(Quick x) {
#if defined(__CUDA_ARCH__)
  return __expf(x.value);
#else
  return expf(x.value);
#endif
}
inline __host__ __device__ Quick library_exp(Pair<Quick> x) { return library_exp(x.high); }

inline __host__ __device__ Quick library_log(Quick x) {
#if defined(__CUDA_ARCH__)
  return __logf(x.value);
#else
  return logf(x.value);
#endif
}

// Near 0 by the series, where the difference from 1 would have lost its digits.
inline __host__ __device__ Quick library_expm1(Quick x) {
  const Quick near = madd(x * x, polynomial(x, 1.0 / 2, 1.0 / 6, 1.0 / 24), x);
  return where(abs(x) < Quick(0.03125), near, library_exp(x) - Quick(1.0));
}
inline __host__ __device__ Quick library_log1p(Quick x) {
  const Quick near = madd(x * x, polynomial(x, -1.0 / 2, 1.0 / 3, -1.0 / 4), x);
  return where(abs(x) < Quick(0.03125), near, library_log(x + Quick(1.0)));
}

// Φ(−a)·e^(a²/2)/t, t = 1/(1 + a/√8), to 15 bits for a ≥ 0.
template <class T>
constexpr T scaled_normal_tail(T t) {
  return polynomial(t, 0.1409644813, 0.142847186, 0.1113026164, 0.118480178, 0.02587935642,
                    -0.03949597531);
}
inline __host__ __device__ Quick normal_tail(Quick a) {
  const Quick t = Quick(1.0) / madd(a, Quick(0.35355339), Quick(1.0));
  return library_exp(Quick(-0.5) * a * a) * (t * scaled_normal_tail(t));
}

}  // namespace activations_ext::cuda

namespace activations_ext {

template <>
constexpr bool kRoundsLater<cuda::Quick> = true;

}  // namespace activations_ext
