// Launchers: from tensors to the kernels' raw memory. They allocate, choose the kernel for the
// dtype, walk over strides and split the work between threads.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels.h"

namespace activations_ext::cpu {

// The kernels of this machine's instruction set; called once, at import.
void set_kernels(const KernelTable* table);

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

// A new tensor laid out as torch's pointwise operators do: as the first input that is dense.
at::Tensor empty_output(const at::Tensor& a, const at::Tensor& b);

// out = op(a) or op(a, b); `b` is undefined for one input. All have the same shape and dtype; `out`
// may be one of the inputs, or else does not overlap them.
void run(const Pointwise& op, const at::Tensor& out, const at::Tensor& a, const at::Tensor& b);

// The same into a new tensor.
at::Tensor run(const Pointwise& op, const at::Tensor& a, const at::Tensor& b);

}  // namespace activations_ext::cpu
