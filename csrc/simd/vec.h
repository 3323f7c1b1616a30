// A SIMD register of float or double as a number type: operators, comparisons and the few
// primitives that math.h builds on. Written on the vector extension of GCC and Clang; intrinsics
// only where the extension has no equivalent (fused multiply-add, half precision, streaming).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "../math/numbers.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

// The code that torch.compile generates is compiled for this very processor, and may have been told
// to use AVX2 all the same.
#if defined(__AVX512F__) && !defined(CPU_CAPABILITY_AVX2)
#define ACTIVATIONS_EXT_AVX512
#endif

namespace activations_ext::cpu {

#if defined(ACTIVATIONS_EXT_AVX512)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class T>
struct Vec;

// The integers as wide as T, and the comparison result (all ones or all zeros in each lane).
template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

template <class T>
struct Mask {
  typedef BitsOf<T> Native __attribute__((vector_size(kVectorBytes)));
  Native native;

  friend Mask operator&(Mask a, Mask b) { return {a.native & b.native}; }
};

template <class T>
struct Vec {
  using Number = T;
  typedef T Native __attribute__((vector_size(kVectorBytes)));
  static constexpr int kLanes = kVectorBytes / sizeof(T);
  Native native;

  Vec() = default;
  Vec(Native lanes) : native(lanes) {}
  Vec(double everywhere) : native(T(everywhere) - Native{}) {}  // x − 0 keeps the sign of −0

  friend Vec operator+(Vec a, Vec b) { return a.native + b.native; }
  friend Vec operator-(Vec a, Vec b) { return a.native - b.native; }
  friend Vec operator*(Vec a, Vec b) { return a.native * b.native; }
  friend Vec operator/(Vec a, Vec b) { return a.native / b.native; }
  friend Vec operator-(Vec a) { return -a.native; }
  friend Mask<T> operator<(Vec a, Vec b) { return {a.native < b.native}; }
  friend Mask<T> operator<=(Vec a, Vec b) { return {a.native <= b.native}; }
  friend Mask<T> operator>(Vec a, Vec b) { return {a.native > b.native}; }
  friend Mask<T> operator>=(Vec a, Vec b) { return {a.native >= b.native}; }
  friend Mask<T> operator==(Vec a, Vec b) { return {a.native == b.native}; }
  friend Mask<T> operator!=(Vec a, Vec b) { return {a.native != b.native}; }

  friend Vec where(Mask<T> condition, Vec yes, Vec no) {
    return condition.native ? yes.native : no.native;
  }
};

// True in some lane.
inline bool any(Mask<float> mask) {
#if defined(ACTIVATIONS_EXT_AVX512)
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask.native)) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_ps(reinterpret_cast<__m256>(mask.native)) != 0;
#elif defined(__SSE2__)
  return _mm_movemask_ps(reinterpret_cast<__m128>(mask.native)) != 0;
#else
  bool result = false;
  for (int lane = 0; lane < Vec<float>::kLanes; ++lane) result |= mask.native[lane] != 0;
  return result;
#endif
}

inline bool any(Mask<double> mask) {
  bool result = false;
  for (int lane = 0; lane < Vec<double>::kLanes; ++lane) result |= mask.native[lane] != 0;
  return result;
}

template <class To, class From>
inline To bit_cast_lanes(From from) {
  static_assert(sizeof(To) == sizeof(From));
  return reinterpret_cast<To>(from);
}

template <class T>
inline Vec<T> abs(Vec<T> x) {
  using Bits = typename Mask<T>::Native;
  return bit_cast_lanes<typename Vec<T>::Native>(bit_cast_lanes<Bits>(x.native) &
                                                 std::numeric_limits<BitsOf<T>>::max());
}

template <class T>
inline Vec<T> copysign(Vec<T> magnitude, Vec<T> sign) {
  using Bits = typename Mask<T>::Native;
  constexpr auto kMagnitude = std::numeric_limits<BitsOf<T>>::max();
  return bit_cast_lanes<typename Vec<T>::Native>(
      (bit_cast_lanes<Bits>(magnitude.native) & kMagnitude) |
      (bit_cast_lanes<Bits>(sign.native) & ~kMagnitude));
}

// NaN stays NaN in both: the instructions return their second operand unless the first is larger
// (smaller).
template <class T>
inline Vec<T> at_least(Vec<T> x, double low) {
  const Vec<T> bound = low;
#if defined(ACTIVATIONS_EXT_AVX512)
  if constexpr (sizeof(T) == 4) return _mm512_maskz_max_ps(0xffff, bound.native, x.native);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) return _mm256_max_ps(bound.native, x.native);
#elif defined(__SSE2__)
  if constexpr (sizeof(T) == 4) return _mm_max_ps(bound.native, x.native);
#endif
  return where(x < bound, bound, x);
}
template <class T>
inline Vec<T> at_most(Vec<T> x, double high) {
  const Vec<T> bound = high;
#if defined(ACTIVATIONS_EXT_AVX512)
  if constexpr (sizeof(T) == 4) return _mm512_maskz_min_ps(0xffff, bound.native, x.native);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) return _mm256_min_ps(bound.native, x.native);
#elif defined(__SSE2__)
  if constexpr (sizeof(T) == 4) return _mm_min_ps(bound.native, x.native);
#endif
  return where(x > bound, bound, x);
}

// The larger one; unspecified if one is NaN.
template <class T>
inline Vec<T> larger(Vec<T> a, Vec<T> b) {
#if defined(ACTIVATIONS_EXT_AVX512)
  if constexpr (sizeof(T) == 4) return _mm512_maskz_max_ps(0xffff, a.native, b.native);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) return _mm256_max_ps(a.native, b.native);
#elif defined(__SSE2__)
  if constexpr (sizeof(T) == 4) return _mm_max_ps(a.native, b.native);
#endif
  return where(a > b, a, b);
}

// The C library's function of each lane.
inline Vec<double> of_each_lane(double (*f)(double), Vec<double> x) {
  Vec<double> y;
  for (int lane = 0; lane < Vec<double>::kLanes; ++lane) y.native[lane] = f(x.native[lane]);
  return y;
}
inline Vec<double> library_log(Vec<double> x) { return of_each_lane(std::log, x); }
inline Vec<double> library_exp(Vec<double> x) { return of_each_lane(std::exp, x); }
inline Vec<double> library_expm1(Vec<double> x) { return of_each_lane(std::expm1, x); }
inline Vec<double> library_log1p(Vec<double> x) { return of_each_lane(std::log1p, x); }
inline Vec<double> library_erfc(Vec<double> x) { return of_each_lane(std::erfc, x); }

// a·b + c with one rounding.
inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
#if defined(ACTIVATIONS_EXT_AVX512)
  return _mm512_fmadd_ps(a.native, b.native, c.native);
#elif defined(__FMA__)
  return _mm256_fmadd_ps(a.native, b.native, c.native);
#elif defined(__ARM_FEATURE_FMA)
  Vec<float> y;  // one instruction, as the compiler finds
  for (int lane = 0; lane < Vec<float>::kLanes; ++lane)
    y.native[lane] = __builtin_fmaf(a.native[lane], b.native[lane], c.native[lane]);
  return y;
#else
  // The product of two floats is exact in double; the sum is rounded twice, which is 0.5 + 2⁻²⁹
  // ULP at worst.
  Vec<float> y;
  for (int lane = 0; lane < Vec<float>::kLanes; ++lane)
    y.native[lane] = float(double(a.native[lane]) * b.native[lane] + c.native[lane]);
  return y;
#endif
}

// a·b + c, with one rounding where the machine can and two where it cannot.
inline Vec<float> madd(Vec<float> a, Vec<float> b, Vec<float> c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return fma(a, b, c);
#else
  return a * b + c;
#endif
}

inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
#if defined(ACTIVATIONS_EXT_AVX512)
  return _mm512_fmadd_pd(a.native, b.native, c.native);
#elif defined(__FMA__)
  return _mm256_fmadd_pd(a.native, b.native, c.native);
#else
  Vec<double> y;
  for (int lane = 0; lane < Vec<double>::kLanes; ++lane)
    y.native[lane] = std::fma(a.native[lane], b.native[lane], c.native[lane]);
  return y;
#endif
}

inline Vec<double> madd(Vec<double> a, Vec<double> b, Vec<double> c) { return a * b + c; }

// See numbers.h.
inline Vec<float> power_of_two(Vec<float> shifted) {
  using Bits = Mask<float>::Native;
  return bit_cast_lanes<Vec<float>::Native>(bit_cast_lanes<Bits>(shifted.native) << 23);
}

// x·2ⁿ for integral n in [−231, 129], rounded once.
inline Vec<float> scale_by_power_of_two(Vec<float> x, Vec<float> n) {
#if defined(ACTIVATIONS_EXT_AVX512)
  return _mm512_maskz_scalef_ps(0xffff, x.native, n.native);  // the plain form warns in GCC 12
#else
  // In two steps: 2ⁿ itself would overflow or underflow. The first product is exact.
  using Bits = Mask<float>::Native;
  const Bits whole = __builtin_convertvector(n.native, Bits);
  const Bits half = whole >> 1;
  const auto power = [](Bits exponent) {
    return bit_cast_lanes<Vec<float>::Native>((exponent + 127) << 23);
  };
  return x.native * power(half) * power(whole - half);
#endif
}

// combine(all lanes) in every lane, for an operation whose order does not matter much.
template <class T, class Combine>
inline Vec<T> over_lanes(Vec<T> x, Combine combine) {
  constexpr int kLanes = Vec<T>::kLanes;
  const auto with_distance = [&]<int kDistance, int... kLane>(
                                 std::integer_sequence<int, kLane...>,
                                 std::integral_constant<int, kDistance>) {
    x = combine(x, Vec<T>(__builtin_shufflevector(x.native, x.native, (kLane ^ kDistance)...)));
  };
  const auto lanes = std::make_integer_sequence<int, kLanes>();
  if constexpr (kLanes > 8) with_distance(lanes, std::integral_constant<int, 8>());
  if constexpr (kLanes > 4) with_distance(lanes, std::integral_constant<int, 4>());
  if constexpr (kLanes > 2) with_distance(lanes, std::integral_constant<int, 2>());
  with_distance(lanes, std::integral_constant<int, 1>());
  return x;
}

// True in the first `count` lanes.
template <class T>
inline Mask<T> first_lanes(int count) {
  typename Mask<T>::Native lane;
  for (int i = 0; i < Vec<T>::kLanes; ++i) lane[i] = i;
  return {lane < BitsOf<T>(count)};
}

// x = m·2ⁿ with √½ ≤ m < √2, for positive normal numbers.
inline Split<Vec<float>> split(Vec<float> x) {
  using Bits = Mask<float>::Native;
  const Bits bits = bit_cast_lanes<Bits>(x.native);
  const Bits n = (bits - kRootOfHalf) >> 23;
  return {bit_cast_lanes<Vec<float>::Native>(bits - (n << 23)),
          __builtin_convertvector(n, Vec<float>::Native)};
}

}  // namespace activations_ext::cpu

#if defined(ACTIVATIONS_EXT_AVX512)
namespace activations_ext {
template <>
inline constexpr bool kScalesAtOnce<cpu::Vec<float>> = true;
}  // namespace activations_ext
#endif
