// The arguments of the mixture kernels, on any device: where everything is in memory.
#pragma once

#include <cstdint>

namespace activations_ext {

// How a standard deviation comes from a network's output: the function's number in Python, too.
enum class ScaleBy { kExp, kSoftplus, kElu, kIdentity };
constexpr int kScales = 4;

// Rows of numbers side by side, row r at r·stride; 0 is one row for all.
template <class Pointer>
struct Strided {
  Pointer data;
  int64_t stride;
};

// Each row is a mixture of `components` Gaussians in `dimensions` dimensions: logits (components),
// mean and scale (components × dimensions), target (dimensions). See losses/mixture.h.
struct MixtureRows {
  int64_t rows, components, dimensions;
  Strided<const void*> logits, mean, scale, target;
  ScaleBy scale_by;
  double floor;
};

// `nll` and its gradient have the type that computes, a number for each row. The gradients of the
// rest are contiguous.
struct MixtureGradient {
  const void* grad_nll;
  void *logits, *mean, *scale;
};

}  // namespace activations_ext
