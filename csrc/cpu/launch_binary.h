// Launchers of binary_cross_entropy_with_logits.
#pragma once

#include <ATen/core/Tensor.h>

namespace activations_ext::cpu {

// All of the dtype of the logits; `target` of their shape too, the weights broadcastable to it.
struct BinaryOperands {
  at::Tensor logits, target, pos_weight, weight;
};

at::Tensor run_binary_losses(const BinaryOperands& of);
// Summed in an order that does not depend on the number of threads.
double run_binary_sum(const BinaryOperands& of);
// grad_output, broadcastable as well, times `scale` and the loss' derivative by the logits.
at::Tensor run_binary_gradient(const at::Tensor& grad_output, double scale,
                               const BinaryOperands& of);

}  // namespace activations_ext::cpu
