// Numbers in memory: float, double, bfloat16 and half, loaded to and stored from the vectors that
// compute. The 16-bit formats compute in float and are rounded once, to nearest even.
#pragma once

#include "../contract/activation.h"
#include "../simd/vec.h"

namespace activations_ext::cpu {

struct BFloat16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

// visit.template operator()<S>(number) for each
template <class Visit>
void for_each_number(Visit visit) {
  visit.template operator()<float>(Number::kFloat);
  visit.template operator()<double>(Number::kDouble);
  visit.template operator()<BFloat16>(Number::kBFloat16);
  visit.template operator()<Half>(Number::kHalf);
}

// The vector that computes for S in memory.
template <class S>
using ComputeVec = Vec<std::conditional_t<std::is_same_v<S, double>, double, float>>;

namespace detail {

using Floats = Vec<float>::Native;
using Words = Mask<float>::Native;
constexpr int kFloatLanes = Vec<float>::kLanes;
typedef uint16_t HalfWords __attribute__((vector_size(kVectorBytes / 2)));
typedef uint32_t UnsignedWords __attribute__((vector_size(kVectorBytes)));

// A bfloat16 is the upper half of a float. Half an ULP, less one if the last kept bit is even,
// carries into the kept bits. A NaN of bfloat16 numbers has nothing below them and stays one.
// AVX-512's own conversion would flush subnormal numbers to 0.
inline UnsignedWords rounded_to_bfloat16(Vec<float> x) {
  const UnsignedWords bits = bit_cast_lanes<UnsignedWords>(x.native);
  return bits + (((bits >> 16) & 1) + 0x7fff);
}

inline Vec<float> from_bits(BFloat16, HalfWords bits) {
#if defined(ACTIVATIONS_EXT_AVX512)
  const auto words = bit_cast_lanes<UnsignedWords>(
      _mm512_maskz_cvtepu16_epi32(0xffff, bit_cast_lanes<__m256i>(bits)));
#elif defined(__AVX2__)  // GCC 12 makes five instructions of the conversion
  const auto words =
      bit_cast_lanes<UnsignedWords>(_mm256_cvtepu16_epi32(bit_cast_lanes<__m128i>(bits)));
#else
  const UnsignedWords words = __builtin_convertvector(bits, UnsignedWords);
#endif
  return bit_cast_lanes<Floats>(words << 16);
}
inline HalfWords to_bits(BFloat16, Vec<float> x) {
  const UnsignedWords words = rounded_to_bfloat16(x) >> 16;
#if defined(ACTIVATIONS_EXT_AVX512)
  return bit_cast_lanes<HalfWords>(
      _mm512_maskz_cvtepi32_epi16(0xffff, bit_cast_lanes<__m512i>(words)));
#elif defined(__AVX2__)
  const auto all = bit_cast_lanes<__m256i>(words);
  return bit_cast_lanes<HalfWords>(
      _mm_packus_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
#else
  return __builtin_convertvector(words, HalfWords);
#endif
}

#if defined(ACTIVATIONS_EXT_AVX512)
inline Vec<float> from_bits(Half, HalfWords bits) {
  return _mm512_maskz_cvtph_ps(0xffff, bit_cast_lanes<__m256i>(bits));
}
inline HalfWords to_bits(Half, Vec<float> x) {
  return bit_cast_lanes<HalfWords>(
      _mm512_maskz_cvtps_ph(0xffff, x.native, _MM_FROUND_TO_NEAREST_INT));
}
#elif defined(__F16C__)
inline Vec<float> from_bits(Half, HalfWords bits) {
  return _mm256_cvtph_ps(bit_cast_lanes<__m128i>(bits));
}
inline HalfWords to_bits(Half, Vec<float> x) {
  return bit_cast_lanes<HalfWords>(_mm256_cvtps_ph(x.native, _MM_FROUND_TO_NEAREST_INT));
}
#else
#if defined(__aarch64__)
using HalfNumber =
    __fp16;  // GCC 12 has _Float16 for C alone there; no function may return this one
#else
using HalfNumber = _Float16;
#endif
inline Vec<float> from_bits(Half, HalfWords bits) {
  Vec<float> x;
  for (int lane = 0; lane < kFloatLanes; ++lane)
    x.native[lane] = float(__builtin_bit_cast(HalfNumber, uint16_t(bits[lane])));
  return x;
}
inline HalfWords to_bits(Half, Vec<float> x) {
  HalfWords bits;
  for (int lane = 0; lane < kFloatLanes; ++lane)
    bits[lane] = __builtin_bit_cast(uint16_t, HalfNumber(x.native[lane]));
  return bits;
}
#endif

// A store that bypasses the cache, in the widest pieces there are; `to` is aligned to them.
template <class Native>
inline void stream_store(void* to, Native value) {
#if defined(ACTIVATIONS_EXT_AVX512)
  if constexpr (sizeof(Native) == 64)
    return _mm512_stream_si512(static_cast<__m512i*>(to), bit_cast_lanes<__m512i>(value));
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(Native) == 32)
    return _mm256_stream_si256(static_cast<__m256i*>(to), bit_cast_lanes<__m256i>(value));
#endif
#if defined(__SSE2__)
  if constexpr (sizeof(Native) == 16)
    return _mm_stream_si128(static_cast<__m128i*>(to), bit_cast_lanes<__m128i>(value));
#endif
  std::memcpy(to, &value, sizeof(Native));
}

}  // namespace detail

template <bool kStream, class Native>
inline void put(void* to, Native native) {
  if constexpr (kStream) {
    detail::stream_store(to, native);
  } else {
    std::memcpy(to, &native, sizeof(native));
  }
}

template <class S>
inline ComputeVec<S> load(const S* from) {
  if constexpr (sizeof(S) == 2) {
    detail::HalfWords bits;
    std::memcpy(&bits, from, sizeof(bits));
    return detail::from_bits(S{}, bits);
  } else {
    ComputeVec<S> x;
    std::memcpy(&x.native, from, sizeof(x.native));
    return x;
  }
}

template <bool kStream, class S>
inline void store(S* to, ComputeVec<S> x) {
  if constexpr (sizeof(S) == 2) {
    put<kStream>(to, detail::to_bits(S{}, x));
  } else {
    put<kStream>(to, x.native);
  }
}

#if defined(ACTIVATIONS_EXT_AVX512)
template <class S>
constexpr bool kLoadsFirst = true;
#elif defined(__AVX2__)
template <class S>
constexpr bool kLoadsFirst = sizeof(S) != 2;
#else
template <class S>
constexpr bool kLoadsFirst = false;
#endif

// The first `count` numbers, at least one and not all that a vector has; the other lanes are 0.
// Memory beyond them is not touched. One instruction where kLoadsFirst.
template <class S>
inline ComputeVec<S> load_first(const S* from, int count) {
#if defined(ACTIVATIONS_EXT_AVX512)
  const uint32_t mask = (1u << count) - 1;
  if constexpr (std::is_same_v<S, float>) {
    return _mm512_maskz_loadu_ps(__mmask16(mask), from);
  } else if constexpr (std::is_same_v<S, double>) {
    return _mm512_maskz_loadu_pd(__mmask8(mask), from);
  } else {
    const __m256i bits = _mm256_maskz_loadu_epi16(__mmask16(mask), from);
    return detail::from_bits(S{}, bit_cast_lanes<detail::HalfWords>(bits));
  }
#else
#if defined(__AVX2__)
  if constexpr (std::is_same_v<S, float>)
    return _mm256_maskload_ps(from, bit_cast_lanes<__m256i>(first_lanes<float>(count).native));
  if constexpr (std::is_same_v<S, double>)
    return _mm256_maskload_pd(from, bit_cast_lanes<__m256i>(first_lanes<double>(count).native));
#endif
  S numbers[ComputeVec<S>::kLanes] = {};
  std::copy(from, from + count, numbers);
  return load(numbers);
#endif
}
template <class S>
inline void store_first(S* to, ComputeVec<S> x, int count) {
#if defined(ACTIVATIONS_EXT_AVX512)
  const uint32_t mask = (1u << count) - 1;
  if constexpr (std::is_same_v<S, float>) {
    _mm512_mask_storeu_ps(to, __mmask16(mask), x.native);
  } else if constexpr (std::is_same_v<S, double>) {
    _mm512_mask_storeu_pd(to, __mmask8(mask), x.native);
  } else {
    const auto bits = bit_cast_lanes<__m256i>(detail::to_bits(S{}, x));
    _mm256_mask_storeu_epi16(to, __mmask16(mask), bits);
  }
#else
#if defined(__AVX2__)
  if constexpr (std::is_same_v<S, float>)
    return _mm256_maskstore_ps(to, bit_cast_lanes<__m256i>(first_lanes<float>(count).native),
                               x.native);
  if constexpr (std::is_same_v<S, double>)
    return _mm256_maskstore_pd(to, bit_cast_lanes<__m256i>(first_lanes<double>(count).native),
                               x.native);
#endif
  S numbers[ComputeVec<S>::kLanes];
  store<false>(numbers, x);
  std::copy(numbers, numbers + count, to);
#endif
}

// Twice as many bfloat16 numbers, those at even and those at odd places: no lane has to move.
struct EvenOdd {
  Vec<float> even, odd;
};
inline EvenOdd load_even_odd(const BFloat16* from) {
  detail::UnsignedWords pairs;
  std::memcpy(&pairs, from, sizeof(pairs));
  return {bit_cast_lanes<detail::Floats>(pairs << 16),
          bit_cast_lanes<detail::Floats>(pairs & 0xffff0000)};
}
template <bool kStream>
inline void store_even_odd(BFloat16* to, EvenOdd x) {
  put<kStream>(to, (detail::rounded_to_bfloat16(x.even) >> 16) |
                       (detail::rounded_to_bfloat16(x.odd) & 0xffff0000));
}

// Needed after streaming stores, before another thread reads what they wrote.
inline void stream_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace activations_ext::cpu
