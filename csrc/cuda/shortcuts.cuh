// Values that a GPU computes in another way than by the formula: see value_of in activation.h.
#pragma once

#include "../activations/tanh.h"
#include "numbers.cuh"

namespace activations_ext::cuda {

// The formula for numbers without polynomials is a continued fraction: twelve divisions.
inline __host__ __device__ Precise value_of(const Tanhshrink& f, Precise x) {
  return f.value(x.value);
}

}  // namespace activations_ext::cuda
