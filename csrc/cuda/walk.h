// Finds an element in memory that has another layout than the output, so that views, transposed and
// expanded inputs are read in place. Does not need torch.
#pragma once

#include <cuda_runtime_api.h>

#include <bit>
#include <cstdint>

namespace activations_ext::cuda {

// Division by multiplication, for 0 ≤ n < 2³¹.
struct Divider {
  uint32_t size = 1, factor = 1, shift = 0;

  Divider() = default;
  explicit Divider(int64_t by)
      : size(uint32_t(by)),
        factor(uint32_t((((uint64_t(1) << ceil_log2(size)) - size) << 32) / size + 1)),
        shift(ceil_log2(size)) {}

  __host__ __device__ uint32_t quotient(uint32_t n) const {
    return (uint32_t(uint64_t(n) * factor >> 32) + n) >> shift;
  }

 private:
  static uint32_t ceil_log2(uint32_t n) { return uint32_t(std::bit_width(n - 1)); }
};

// The elements in the order of the output's memory, innermost dimension first.
struct Walk {
  static constexpr int kMostDims = 4, kMostInputs = 5;
  static constexpr int64_t kMostElements = (int64_t(1) << 31) - 1;

  int dims = 0;  // 0: every input lies as the output does
  Divider sizes[kMostDims];
  int64_t strides[kMostInputs][kMostDims] = {};

  Walk() = default;
  template <class Sizes>
  explicit Walk(const Sizes& of) : dims(int(of.size())) {
    // The last dimension leaves no remainder.
    for (int d = 0; d < kMostDims; ++d)
      sizes[d] = Divider(d + 1 < dims ? int64_t(of[d]) : kMostElements + 1);
  }

  // Of input `input`, in elements. Without a branch, so that several loads are under way at once.
  __host__ __device__ int64_t offset(int input, int64_t element) const {
    auto rest = uint32_t(element);
    int64_t offset = 0;
#pragma unroll
    for (int d = 0; d < kMostDims; ++d) {
      const uint32_t above = sizes[d].quotient(rest);
      offset += int64_t(rest - above * sizes[d].size) * strides[input][d];
      rest = above;
    }
    return offset;
  }
};

}  // namespace activations_ext::cuda
