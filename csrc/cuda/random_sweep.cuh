// The random sweep on CUDA: a pointwise map with one uniform number for each element, the numbers
// that the CPU draws of the same seed.
#pragma once

#include "../activations/all.h"
#include "../math/philox.h"
#include "packs.cuh"

namespace activations_ext::cuda {

constexpr int kRandomThreads = 256;

// A chunk of numbers has kCountersInChunk counters, whose four numbers are that far apart. A thread
// draws as many neighbouring counters as a pack has elements: their w-th numbers are for one pack.
template <class S>
constexpr int kThreadsOfChunk = kCountersInChunk / Pack<S>::kCount;

// The seed is in device memory, drawn by torch's generator: a captured graph draws a new one at
// every replay. To be launched with kRandomThreads, kThreadsOfChunk of them a chunk.
template <class A, class S>
__global__ void random_map(A activation, S* out, const S* a, const S* gate, const int64_t* seed,
                           int64_t count) {
  constexpr int kCount = Pack<S>::kCount, kNumbers = 4;
  const auto multiply = [](uint64_t word, uint32_t factor) {
    return uint64_t(uint32_t(word)) * factor;
  };
  const auto key = [of = uint64_t(*seed)](int round, int which) {
    return philox_key(of, round, which);
  };
  const int64_t thread = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t chunk = thread / kThreadsOfChunk<S>;
  const int first = int(thread % kThreadsOfChunk<S>) * kCount;
  const auto start = [&](int w) { return chunk * kRandomChunk + w * kCountersInChunk + first; };
  if (start(0) >= count) return;

  const Stretch<const S> from = {a, count}, gates = {gate, count};
  const Stretch<S> to = {out, count};
  Pack<S> x[kNumbers], y[kNumbers];
#pragma unroll
  for (int w = 0; w < kNumbers; ++w) {
    x[w] = from.load(start(w));
    y[w] = gates.load(start(w));
  }
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
    const uint64_t counter = uint64_t(chunk) * kCountersInChunk + first + k;
    uint64_t word[4] = {counter, counter >> 32, 0, 0};
    philox(word, key, multiply);
#pragma unroll
    for (int w = 0; w < kNumbers; ++w) {
      const float uniform = float(uint32_t(word[w]) >> kUnusedBits) * kUniformStep;
      x[w].numbers[k] = rounded<S>(activation.value(widened(x[w].numbers[k]),
                                                    widened(y[w].numbers[k]), Compute<S>(uniform)));
    }
  }
#pragma unroll
  for (int w = 0; w < kNumbers; ++w) to.store(start(w), x[w]);
}

}  // namespace activations_ext::cuda
