// Numbers in memory and the numbers that compute with them: the 16-bit types are rounded once.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "numbers.cuh"

namespace activations_ext::cuda {

using BFloat16 = __nv_bfloat16;
using Half = __half;

__host__ __device__ inline Precise widened(float x) { return x; }
__host__ __device__ inline double widened(double x) { return x; }
__host__ __device__ inline Quick widened(BFloat16 x) { return __bfloat162float(x); }
__host__ __device__ inline Quick widened(Half x) { return __half2float(x); }

template <class S>
using Compute = decltype(widened(S()));

template <class S>
__host__ __device__ inline S rounded(Compute<S> x) {
  if constexpr (std::is_same_v<S, BFloat16>) {
    return __float2bfloat16_rn(x.value);
  } else if constexpr (std::is_same_v<S, Half>) {
    return __float2half_rn(x.value);
  } else {
    return S(x);
  }
}

// As many numbers as one access of 16 bytes moves.
template <class S>
struct alignas(16) Pack {
  static constexpr int kCount = 16 / sizeof(S);
  S numbers[kCount];
};

// A number of its own, where a pack could be.
template <class S>
struct One {
  static constexpr int kCount = 1;
  S numbers[1];
};

// How many elements stand before the first multiple of 16 bytes.
template <class S>
__host__ __device__ inline int64_t before_aligned(const S* start) {
  const auto past = reinterpret_cast<uintptr_t>(start) % sizeof(Pack<S>);
  return past == 0 ? 0 : int64_t(sizeof(Pack<S>) - past) / int64_t(sizeof(S));
}

}  // namespace activations_ext::cuda
