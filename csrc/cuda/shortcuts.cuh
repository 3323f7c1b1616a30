// Values that a GPU computes in another way than by the formula: see value_of in activation.h.
#pragma once

#include "../activations/mish.h"
#include "../activations/tanh.h"
#include "numbers.cuh"

namespace activations_ext::cuda {

// Without the second parts, which 16 bits do not show.
inline __host__ __device__ Quick value_of(const Mish&, Quick x) {
  const Quick w = library_exp(at_most(x, 20.0)), n = madd(w, w, w + w);
  return where(x > Quick(20.0), x, x * (n / (n + Quick(2.0))));
}

// The formula for numbers without polynomials is a continued fraction: twelve divisions.
inline __host__ __device__ Precise value_of(const Tanhshrink& f, Precise x) {
  return f.value(x.value);
}
inline __host__ __device__ Quick value_of(const Tanhshrink& f, Quick x) {
  const Quick z = x * x, far = abs(x) - Tanh{}.value(abs(x));
  const Quick near = x * z * madd(z, f.deficit_tail(z), Quick(f.kDeficit));
  return where(abs(x) < Quick(1.0), near, copysign(far, x));
}

}  // namespace activations_ext::cuda
