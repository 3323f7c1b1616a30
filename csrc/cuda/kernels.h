// What the launchers call: kernels on raw, contiguous device memory, queued on a stream. Needs
// CUDA's headers, and no torch.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../registry.h"

namespace activations_ext::cuda {

enum class Number { kFloat, kDouble, kBFloat16, kHalf };
constexpr int kNumbers = 4;

// out = pass(a, b); see pointwise_sweep.cuh.
using PointwiseKernel = void (*)(const void* activation, void* out, const void* a, const void* b,
                                 int64_t count, cudaStream_t stream);

struct KernelTable {
  PointwiseKernel pointwise[Activations::kSize][kNumbers][kPasses];
};

const KernelTable& kernels();

}  // namespace activations_ext::cuda
