// What a CPU kernel module (_cpu_default, _cpu_avx2, _cpu_avx512) hands to _C: a table of functions
// on raw, contiguous memory. They run on the calling thread; the launchers split the work.
#pragma once

#include <cstdint>

#include "../registry.h"

namespace activations_ext::cpu {

enum class Number { kFloat, kDouble, kBFloat16, kHalf };
constexpr int kNumbers = 4;

enum class Pass {
  kForward,    // out = value(a)
  kBackward,   // out = a · slope(b), b the saved tensor
  kCurvature,  // out = a · ∂slope/∂b
};
constexpr int kPasses = 3;

// `activation` points to the struct of the activation. `out` may be `a` or `b`. With `stream`, the
// stores bypass the cache.
using PointwiseKernel = void (*)(const void* activation, void* out, const void* a, const void* b,
                                 int64_t count, bool stream);

struct KernelTable {
  PointwiseKernel pointwise[Activations::kSize][kNumbers][kPasses];
};

// The name under which a kernel module passes its table through Python.
constexpr const char* kKernelTableCapsule = "activations_ext.KernelTable";

}  // namespace activations_ext::cpu
