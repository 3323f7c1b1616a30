// Launchers: from tensors to the kernels' raw memory. They allocate, choose the kernel for the
// dtype, walk over strides and split the work between threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

#include "kernels.h"

namespace activations_ext::cpu {

// The kernels of this machine's instruction set; called once, at import.
void set_kernels(const KernelTable* kernels);
const KernelTable& kernels();

// An activation and its pass, without their types.
struct Pointwise {
  const void* activation;
  int index;  // in Activations
  Pass pass;
  bool cheap;  // bound by memory even within the cache: needs more elements to share with threads
};

template <class A>
Pointwise describe(const A& activation, Pass pass) {
  return {&activation, Activations::index_of<A>(), pass, A::kShape != Shape::kSmooth};
}
template <class A>
Pointwise forward(const A& activation) {
  return describe(activation, Pass::kForward);
}
template <class A>
Pointwise backward(const A& activation, bool of_result) {
  return describe(activation, of_result ? Pass::kBackwardOfResult : Pass::kBackward);
}
template <class A>
Pointwise curvature(const A& activation, bool of_result) {
  return describe(activation, of_result ? Pass::kCurvatureOfResult : Pass::kCurvature);
}

// The type of the numbers in a tensor's memory.
Number number_of(at::ScalarType dtype);

// Large new tensors have memory of their own (large_blocks.h), and are written past the cache.
bool is_large(const at::Tensor& tensor);

// Both can be walked as flat memory, element by element.
bool same_dense_layout(const at::Tensor& a, const at::Tensor& b);

// Whose layout torch's pointwise operators give their result: the gradient's, unless it is
// expanded.
const at::Tensor& layout_of(const at::Tensor& grad_output, const at::Tensor& saved);

// A new tensor laid out like that; `b` is undefined for one input.
at::Tensor empty_output(const at::Tensor& a, const at::Tensor& b);

// out = op(a) or op(a, b); `b` is undefined for one input. All have the same shape and dtype; `out`
// may be one of the inputs, or else does not overlap them.
void run(const Pointwise& op, const at::Tensor& out, const at::Tensor& a, const at::Tensor& b);

// The same into a new tensor.
at::Tensor run(const Pointwise& op, const at::Tensor& a, const at::Tensor& b);

// input = op(input), each element once even where several share memory.
void run_in_place(const Pointwise& op, const at::Tensor& input);

// `weight` has one element, or one for each channel, which is the input's dimension 1.
at::Tensor run_prelu(const at::Tensor& input, const at::Tensor& weight);
std::pair<at::Tensor, at::Tensor> run_prelu_backward(const at::Tensor& grad_output,
                                                     const at::Tensor& input,
                                                     const at::Tensor& weight, bool overwrite);

// The random activation at `index` of RandomActivations. Numbers are dealt in the order of the
// elements' indices, whatever the strides.
at::Tensor run_random(int index, const void* activation, const at::Tensor& a,
                      const at::Tensor& gate, uint64_t seed);

}  // namespace activations_ext::cpu
