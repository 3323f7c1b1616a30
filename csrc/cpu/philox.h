// Chunks of random numbers (../philox.h) in vectors.
#pragma once

#include "../math/philox.h"
#include "storage.h"

namespace activations_ext::cpu {

namespace detail {

constexpr int kCounters = kVectorBytes / 8;
typedef uint64_t Counters __attribute__((vector_size(kVectorBytes)));

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

// The lower 32 bits of each lane of a, then of b.
inline Words lower_words(Counters a, Counters b) {
  return [&]<int... kLane>(std::integer_sequence<int, kLane...>) {
    return __builtin_shufflevector(bit_cast_lanes<Words>(a), bit_cast_lanes<Words>(b),
                                   (2 * kLane)...);
  }(std::make_integer_sequence<int, 2 * kCounters>());
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

// uniform[0 … 1023] = chunk number `chunk` of the stream `seed`. `alongside(part)` is called before
// each of kPartsOfChunk parts, for what memory may do in the meantime.
constexpr int kPartsOfChunk = kCountersInChunk / (detail::kCounters * detail::kGroups);

template <class Alongside>
inline void fill_uniform(float* uniform, uint64_t seed, uint64_t chunk,
                         const Alongside& alongside) {
  using namespace detail;
  Counters keys[kPhiloxRounds][2], lanes;
  for (int round = 0; round < kPhiloxRounds; ++round)
    for (int which : {0, 1}) keys[round][which] = Counters{} + philox_key(seed, round, which);
  for (int lane = 0; lane < kCounters; ++lane) lanes[lane] = uint64_t(lane);
  const auto key = [&](int round, int which) { return keys[round][which]; };
  const auto multiply = [](const Groups& words, uint64_t factor) {
    return words.map([&](Counters word) { return multiply_low_words(word, Counters{} + factor); });
  };
  // The same for the whole chunk, so that half of the first two rounds is done outside the loop.
  Groups upper;
  for (Counters& of : upper.of) of = Counters{} + (chunk * kCountersInChunk >> 32);
  for (int part = 0; part < kPartsOfChunk; ++part) {
    alongside(part);
    const int first = part * kCounters * kGroups;
    Groups counter;
    for (int g = 0; g < kGroups; ++g)
      counter.of[g] = lanes + (chunk * kCountersInChunk + first + g * kCounters);
    Groups word[4] = {counter, upper, {}, {}};
    philox(word, key, multiply);
    for (int w = 0; w < 4; ++w)
      for (int g = 0; g < kGroups; g += 2) {
        // Signed: the conversion to float is one instruction then.
        const auto bits = bit_cast_lanes<Words>(
            bit_cast_lanes<UnsignedWords>(lower_words(word[w].of[g], word[w].of[g + 1])) >>
            kUnusedBits);
        store<false>(uniform + w * kCountersInChunk + first + g * kCounters,
                     Vec<float>(__builtin_convertvector(bits, Floats) * kUniformStep));
      }
  }
}

}  // namespace activations_ext::cpu
