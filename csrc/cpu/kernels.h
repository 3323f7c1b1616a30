// What a CPU kernel module (_cpu_default, _cpu_avx2, _cpu_avx512) hands to _C: a table of functions
// on raw, contiguous memory. They run on the calling thread; the launchers split the work.
#pragma once

#include <cstdint>

#include "../registry.h"

namespace activations_ext::cpu {

enum class Number { kFloat, kDouble, kBFloat16, kHalf };
constexpr int kNumbers = 4;

enum class Pass {
  kForward,           // out = value(a)
  kBackward,          // out = a · slope(b), b the saved input
  kCurvature,         // out = a · ∂slope/∂b
  kBackwardOfResult,  // the same, b the saved result
  kCurvatureOfResult,
};
constexpr int kPasses = 5;

// `activation` points to the struct of the activation. `out` may be `a` or `b`. With `stream`, the
// stores bypass the cache.
using PointwiseKernel = void (*)(const void* activation, void* out, const void* a, const void* b,
                                 int64_t count, bool stream);

// out = value(a, gate, uniform numbers of the stream `seed`). `first`, a multiple of kRandomChunk,
// is the index of the first element in its tensor.
using RandomKernel = void (*)(const void* activation, void* out, const void* a, const void* gate,
                              uint64_t seed, int64_t first, int64_t count);

// `weight` holds numbers of the type that computes: with `each` one for each element, plus a
// vector's length of any to read beyond the end, else one for all. So does `grad_weight`, to which
// the gradient is added.
struct PReLUKernels {
  void (*forward)(void* out, const void* input, const void* weight, bool each, int64_t count,
                  bool stream);
  void (*backward)(void* grad_input, const void* grad_output, const void* input, const void* weight,
                   bool each, double* grad_weight, int64_t count, bool stream);
};

// Elements that a kernel may read of `weight`, and read and write of `grad_weight`, past the end.
constexpr int kMaxLanes = 16;

struct KernelTable {
  PointwiseKernel pointwise[Activations::kSize][kNumbers][kPasses];  // nullptr: no such formula
  PReLUKernels prelu[kNumbers];
  RandomKernel random[RandomActivations::kSize][kNumbers];
};

// The name under which a kernel module passes its table through Python.
constexpr const char* kKernelTableCapsule = "activations_ext.KernelTable";

}  // namespace activations_ext::cpu
