// The random sweep on CUDA: a pointwise map with one uniform number for each element, the numbers
// that the CPU draws of the same seed.
#pragma once

#include "../philox.h"
#include "../registry.h"
#include "storage.cuh"

namespace activations_ext::cuda {

// A block does one chunk of numbers after another, a thread one counter of each: its four numbers
// are kCountersInChunk apart, so that neighbouring threads read neighbouring memory. The seed is in
// device memory, drawn by torch's generator: a captured graph draws a new one at every replay.
// To be launched with kCountersInChunk threads.
template <class A, class S>
__global__ void random_map(A activation, S* out, const S* a, const S* gate, const int64_t* seed,
                           int64_t count) {
  const auto multiply = [](uint64_t word, uint32_t factor) {
    return uint64_t(uint32_t(word)) * factor;
  };
  for (int64_t chunk = blockIdx.x; chunk * kRandomChunk < count; chunk += gridDim.x) {
    const uint64_t counter = uint64_t(chunk) * kCountersInChunk + threadIdx.x;
    uint64_t word[4] = {counter, counter >> 32, 0, 0};
    philox(word, uint64_t(*seed), multiply);
    for (int w = 0; w < 4; ++w) {
      const int64_t i = chunk * kRandomChunk + w * kCountersInChunk + threadIdx.x;
      if (i >= count) break;
      const float uniform = float(uint32_t(word[w]) >> kUnusedBits) * kUniformStep;
      out[i] = rounded<S>(activation.value(widened(a[i]), widened(gate[i]), Compute<S>(uniform)));
    }
  }
}

}  // namespace activations_ext::cuda
