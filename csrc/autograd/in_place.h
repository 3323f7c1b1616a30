// What the in-place operators `name_(Tensor(a!) input, …) -> Tensor(a!)` share between Autograd and
// the kernels: version counters, functorch, functionalization.
#pragma once

#include <ATen/FunctionalTensorWrapper.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/VariableTypeUtils.h>

#include "batching.h"
#include "node.h"

namespace activations_ext {

// `input`, by `compute(input)`, and in the graph. `make()` makes the node with its edges,
// `save(node, original)` fills it; `original` is a copy from before, with its history, if
// `keeps_input`. `tangent(of, original)` is the derivative in the direction of a tangent.
template <class Make, class Compute, class Save, class Tangent>
at::Tensor& differentiable_in_place(at::Tensor& input, bool keeps_input, Make make, Compute compute,
                                    Save save, Tangent tangent) {
  const bool requires_grad = torch::autograd::compute_requires_grad(input);
  const bool has_tangent = torch::autograd::isFwGradDefined(input);
  torch::autograd::check_inplace(input, requires_grad);
  at::Tensor original;
  if (keeps_input && (requires_grad || has_tangent)) original = input.clone();
  auto node = requires_grad ? make() : decltype(make())();
  compute(input);
  if (requires_grad) torch::autograd::rebase_history(input, node);
  // Into the tangent that is there, which may be a view of the base's.
  if (has_tangent) {
    const at::Tensor of = tangent_of(input);
    at::Tensor(of).copy_(tangent(of, primal_of(keeps_input ? original : input)));
  }
  if (requires_grad) save(*node, original);
  return input;
}

// The kernel at ADInplaceOrView.
template <class Call>
at::Tensor& count_version(at::Tensor& input, Call call) {
  {
    at::AutoDispatchBelowADInplaceOrView below;
    call(input);
  }
  torch::autograd::increment_version(input);
  return input;
}

// The kernel at FuncTorchBatched.
template <class Call>
at::Tensor& batched_in_place(at::Tensor& input, Call call) {
  c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::FuncTorchBatched);
  auto* batched = at::functorch::maybeGetBatchedImpl(input);
  at::Tensor value = batched == nullptr ? input : batched->value();
  call(value);
  return input;
}

// The kernel at Functionalize: `compute(value)` in a new tensor takes the place of the old one.
template <class Compute>
at::Tensor& functionalized(at::Tensor& input, Compute compute) {
  namespace impl = at::functionalization::impl;
  TORCH_INTERNAL_ASSERT(impl::isFunctionalTensor(input));
  impl::sync(input);
  const at::Tensor value = impl::from_functional_tensor(input);
  at::Tensor result;
  {
    at::AutoDispatchSkipFunctionalize below;
    result = compute(value);
  }
  impl::replace_(input, result);
  impl::commit_update(input);
  impl::sync(input);
  return input;
}

}  // namespace activations_ext
