#pragma once

#include <ATen/core/Tensor.h>

namespace activations_ext {

// The gradient of row_divergence by the logits, which it overwrites, without telling Autograd or
// the version counter. Only of plain tensors on the CPU; elsewhere it is a new tensor.
at::Tensor divergence_gradient(const at::Tensor& grad, const at::Tensor& logits,
                               const at::Tensor& teacher, int64_t dim, int64_t kind, double beta,
                               double logit_scale, const at::Tensor& statistics);

// The divergence of each row by torch's operators.
at::Tensor divergence_formula(const at::Tensor& logits, const at::Tensor& teacher, int64_t dim,
                              int64_t kind, double beta, double logit_scale);

}  // namespace activations_ext
