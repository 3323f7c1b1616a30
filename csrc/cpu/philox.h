// Philox 4x32-10 (Salmon et al., SC 2011): random numbers as a function of a seed and a counter,
// so that backward can make forward's numbers again, in any order and on any number of threads.
#pragma once

#include "vec.h"

namespace activations_ext::cpu {

// Numbers are made in chunks: number i of a tensor is number i % 1024 of chunk i / 1024.
constexpr int kRandomChunk = 1024;

namespace detail {

constexpr int kCounters = kVectorBytes / 8;
typedef uint64_t Counters __attribute__((vector_size(kVectorBytes)));
typedef uint32_t CounterWords __attribute__((vector_size(kVectorBytes / 2)));
typedef float CounterFloats __attribute__((vector_size(kVectorBytes / 2)));

// Products of the lower 32 bits of each lane.
inline Counters multiply_low_words(Counters a, Counters b) {
#if defined(__AVX512F__)
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

}  // namespace detail

// uniform[0 … 1023] = chunk number `chunk` of the stream `seed`: multiples of 2⁻²⁴ in [0, 1). Word
// w of counter 256·chunk + j is number 256·w + j, whatever the vectors' width.
inline void fill_uniform(float* uniform, uint64_t seed, uint64_t chunk) {
  using namespace detail;
  constexpr int kBlocks = kRandomChunk / 4;
  constexpr uint64_t kLow = 0xffffffff;
  for (int j = 0; j < kBlocks; j += kCounters) {
    Counters counter;
    for (int lane = 0; lane < kCounters; ++lane) counter[lane] = chunk * kBlocks + j + lane;
    // Each lane's upper half is rubbish once the rounds begin: the products ignore it.
    Counters word[4] = {counter, counter >> 32, {}, {}};
    uint32_t key[2] = {uint32_t(seed), uint32_t(seed >> 32)};
    for (int round = 0; round < 10; ++round) {
      const Counters a = multiply_low_words(word[0], Counters{} + 0xD2511F53);
      const Counters b = multiply_low_words(word[2], Counters{} + 0xCD9E8D57);
      word[0] = (b >> 32) ^ word[1] ^ key[0];
      word[2] = (a >> 32) ^ word[3] ^ key[1];
      word[1] = b;
      word[3] = a;
      key[0] += 0x9E3779B9;
      key[1] += 0xBB67AE85;
    }
    for (int w = 0; w < 4; ++w) {
      const auto words = __builtin_convertvector(word[w] & kLow, CounterWords);
      // 24 bits: every value is a float, and a signed conversion is enough.
      typedef int32_t Signed __attribute__((vector_size(kVectorBytes / 2)));
      const auto bits = bit_cast_lanes<Signed>(words >> 8);
      const CounterFloats numbers = __builtin_convertvector(bits, CounterFloats) * 0x1p-24f;
      std::memcpy(uniform + w * kBlocks + j, &numbers, sizeof(numbers));
    }
  }
}

}  // namespace activations_ext::cpu
