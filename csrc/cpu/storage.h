// Numbers in memory: float, double, bfloat16 and half, loaded to and stored from the vectors that
// compute. The 16-bit formats compute in float and are rounded once, to nearest even.
#pragma once

#include "vec.h"

namespace activations_ext::cpu {

struct BFloat16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

// The vector that computes for S in memory.
template <class S>
using ComputeVec = Vec<std::conditional_t<std::is_same_v<S, double>, double, float>>;

namespace detail {

using Floats = Vec<float>::Native;
using Words = Mask<float>::Native;
constexpr int kFloatLanes = Vec<float>::kLanes;
typedef uint16_t HalfWords __attribute__((vector_size(kVectorBytes / 2)));
typedef uint32_t UnsignedWords __attribute__((vector_size(kVectorBytes)));

inline Vec<float> from_bits(BFloat16, HalfWords bits) {
  return bit_cast_lanes<Floats>(__builtin_convertvector(bits, UnsignedWords) << 16);
}

inline HalfWords to_bits(BFloat16, Vec<float> x) {
  // Half an ULP, less one if the last kept bit is even, carries into the kept bits. AVX-512's own
  // conversion would flush subnormal numbers to 0.
  const UnsignedWords bits = bit_cast_lanes<UnsignedWords>(x.native);
  const UnsignedWords rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const UnsignedWords kept = x.native == x.native ? rounded : UnsignedWords{} + 0x7fc0;
  return __builtin_convertvector(kept, HalfWords);
}

#if defined(__AVX512F__)
inline Vec<float> from_bits(Half, HalfWords bits) {
  return _mm512_maskz_cvtph_ps(0xffff, bit_cast_lanes<__m256i>(bits));
}
inline HalfWords to_bits(Half, Vec<float> x) {
  return bit_cast_lanes<HalfWords>(_mm512_maskz_cvtps_ph(0xffff, x.native, _MM_FROUND_TO_NEAREST_INT));
}
#elif defined(__F16C__)
inline Vec<float> from_bits(Half, HalfWords bits) {
  return _mm256_cvtph_ps(bit_cast_lanes<__m128i>(bits));
}
inline HalfWords to_bits(Half, Vec<float> x) {
  return bit_cast_lanes<HalfWords>(_mm256_cvtps_ph(x.native, _MM_FROUND_TO_NEAREST_INT));
}
#else
inline Vec<float> from_bits(Half, HalfWords bits) {
  Vec<float> x;
  for (int lane = 0; lane < kFloatLanes; ++lane)
    x.native[lane] = float(std::bit_cast<_Float16>(uint16_t(bits[lane])));
  return x;
}
inline HalfWords to_bits(Half, Vec<float> x) {
  HalfWords bits;
  for (int lane = 0; lane < kFloatLanes; ++lane)
    bits[lane] = std::bit_cast<uint16_t>(_Float16(x.native[lane]));
  return bits;
}
#endif

// A store that bypasses the cache, in the widest pieces there are; `to` is aligned to them.
template <class Native>
inline void stream_store(void* to, Native value) {
#if defined(__AVX512F__)
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
  const auto put = [to](auto native) {
    if constexpr (kStream) {
      detail::stream_store(to, native);
    } else {
      std::memcpy(to, &native, sizeof(native));
    }
  };
  if constexpr (sizeof(S) == 2) {
    put(detail::to_bits(S{}, x));
  } else {
    put(x.native);
  }
}

// After streaming stores, before another thread may read what they wrote.
inline void stream_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace activations_ext::cpu
