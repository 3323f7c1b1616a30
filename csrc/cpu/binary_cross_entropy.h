// Binary cross-entropy of tensors on the CPU: no other device has kernels for it.
#pragma once

#include <ATen/core/Tensor.h>

namespace activations_ext::cpu {

// All of the dtype of the logits; `target` of their shape too, the weights broadcastable to it.
struct BinaryOperands {
  at::Tensor logits, target, pos_weight, weight;
};

at::Tensor binary_losses(const BinaryOperands& of);

// Summed in an order that does not depend on the number of threads.
double binary_sum(const BinaryOperands& of);

// grad_output, broadcastable as well, times `scale` and the loss' derivative by the logits.
at::Tensor binary_backward(const at::Tensor& grad_output, double scale, const BinaryOperands& of);

}  // namespace activations_ext::cpu
