#pragma once

#include <ATen/core/Tensor.h>

namespace activations_ext {

// The operators, straight to the kernels where nothing intercepts the call.
at::Tensor gated_pair(const at::Tensor& gate, const at::Tensor& up, int64_t kind, double alpha,
                      double limit, double offset);
at::Tensor gated_halves(const at::Tensor& input, int64_t dim, bool interleaved, bool gate_first,
                        int64_t kind, double alpha, double limit, double offset);

}  // namespace activations_ext
