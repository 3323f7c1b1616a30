// Philox 4x32-7 (Salmon et al., SC 2011; seven rounds pass BigCrush): random numbers as a function
// of a seed and a counter. Backward regenerates forward's numbers, in any order, on any device and
// any number of threads.
#pragma once

#include <cstdint>

namespace activations_ext {

// Numbers are made in chunks of 256 counters: word w of counter 256·chunk + j makes number
// 1024·chunk + 256·w + j of a tensor.
constexpr int kRandomChunk = 1024;
constexpr int kCountersInChunk = kRandomChunk / 4;

constexpr int kPhiloxRounds = 7;

// The keys of a round are those for `which` = 0 and 1.
constexpr uint32_t philox_key(uint64_t seed, int round, int which) {
  const uint32_t step = which == 0 ? 0x9E3779B9 : 0xBB67AE85;
  return uint32_t(seed >> (32 * which)) + uint32_t(round) * step;
}

// Replaces counters by random words. A word is the lower half of 64 bits, or of each 64-bit lane of
// a vector; the upper half is undefined on entry and on return. `key(round, which)` gives the keys,
// `multiply` the product of two words in all 64 bits.
template <class Words, class Key, class Multiply>
constexpr void philox(Words (&word)[4], Key key, Multiply multiply) {
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const Words a = multiply(word[0], 0xD2511F53), b = multiply(word[2], 0xCD9E8D57);
    word[0] = (b >> 32) ^ word[1] ^ key(round, 0);
    word[2] = (a >> 32) ^ word[3] ^ key(round, 1);
    word[1] = b;
    word[3] = a;
  }
}

// A uniform number in [0, 1) is a multiple of 2⁻²⁴: the upper 24 bits of a word.
constexpr int kUnusedBits = 8;
constexpr float kUniformStep = 0x1p-24f;

}  // namespace activations_ext
