// Chunks of random numbers (../philox.h) in vectors.
#pragma once

#include "../math/philox.h"
#include "../simd/vec.h"

namespace activations_ext::cpu {

namespace detail {

constexpr int kCounters = kVectorBytes / 8;
typedef uint64_t Counters __attribute__((vector_size(kVectorBytes)));
typedef uint32_t CounterWords __attribute__((vector_size(kVectorBytes / 2)));
typedef int32_t SignedWords __attribute__((vector_size(kVectorBytes / 2)));
typedef float CounterFloats __attribute__((vector_size(kVectorBytes / 2)));

// Products of the lower 32 bits of each lane.
inline Counters multiply_low_words(Counters a, Counters b) {
#if defined(ACTIVATIONS_EXT_AVX512)
  return bit_cast_lanes<Counters>(
      _mm512_maskz_mul_epu32(0xff, bit_cast_lanes<__m512i>(a), bit_cast_lanes<__m512i>(b)));
#elif defined(__AVX2__)
  return bit_cast_lanes<Counters>(
      _mm256_mul_epu32(bit_cast_lanes<__m256i>(a), bit_cast_lanes<__m256i>(b)));
#elif defined(__SSE2__)
  return bit_cast_lanes<Counters>(
      _mm_mul_epu32(bit_cast_lanes<__m128i>(a), bit_cast_lanes<__m128i>(b)));
#else
  return (a & 0xffffffff) * (b & 0xffffffff);
#endif
}

// Several vectors at once: each waits for its products.
constexpr int kGroups = 4;
struct Groups {
  Counters of[kGroups];

  template <class F>
  Groups map(F f) const {
    Groups result;
    for (int g = 0; g < kGroups; ++g) result.of[g] = f(of[g]);
    return result;
  }
  friend Groups operator>>(const Groups& a, int bits) {
    return a.map([&](Counters word) { return word >> bits; });
  }
  friend Groups operator^(const Groups& a, Counters b) {
    return a.map([&](Counters word) { return word ^ b; });
  }
  friend Groups operator^(const Groups& a, const Groups& b) {
    Groups result;
    for (int g = 0; g < kGroups; ++g) result.of[g] = a.of[g] ^ b.of[g];
    return result;
  }
};

}  // namespace detail

// uniform[0 … 1023] = chunk number `chunk` of the stream `seed`.
inline void fill_uniform(float* uniform, uint64_t seed, uint64_t chunk) {
  using namespace detail;
  Counters keys[kPhiloxRounds][2], lanes;
  for (int round = 0; round < kPhiloxRounds; ++round)
    for (int which : {0, 1}) keys[round][which] = Counters{} + philox_key(seed, round, which);
  for (int lane = 0; lane < kCounters; ++lane) lanes[lane] = uint64_t(lane);
  const auto key = [&](int round, int which) { return keys[round][which]; };
  const auto multiply = [](const Groups& words, uint64_t factor) {
    return words.map([&](Counters word) { return multiply_low_words(word, Counters{} + factor); });
  };
  for (int j = 0; j < kCountersInChunk; j += kCounters * kGroups) {
    Groups counter;
    for (int g = 0; g < kGroups; ++g)
      counter.of[g] = lanes + (chunk * kCountersInChunk + j + g * kCounters);
    Groups word[4] = {counter, counter >> 32, {}, {}};
    philox(word, key, multiply);
    for (int w = 0; w < 4; ++w)
      for (int g = 0; g < kGroups; ++g) {
        const auto words = __builtin_convertvector(word[w].of[g] & 0xffffffff, CounterWords);
        // Signed: the conversion to float is one instruction then.
        const auto bits = bit_cast_lanes<SignedWords>(words >> kUnusedBits);
        const CounterFloats numbers = __builtin_convertvector(bits, CounterFloats) * kUniformStep;
        std::memcpy(uniform + w * kCountersInChunk + j + g * kCounters, &numbers, sizeof(numbers));
      }
  }
}

}  // namespace activations_ext::cpu
