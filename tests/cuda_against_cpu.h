// For the programs that compare CUDA kernels on the host with the CPU's.
#pragma once

#include "cpu/storage.h"
#include "cuda_arrays.h"

namespace activations_ext {

// The CPU has names of its own for what is in memory.
template <class S>
struct OnCpu {
  using type = S;
};
template <>
struct OnCpu<cuda::BFloat16> {
  using type = cpu::BFloat16;
};
template <>
struct OnCpu<cuda::Half> {
  using type = cpu::Half;
};

}  // namespace activations_ext
