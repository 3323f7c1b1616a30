// Forward through the graph: saves, history and forward-mode tangents.
#pragma once

#include "../checks.h"
#include "../cpu/launch.h"
#include "nodes.h"

namespace activations_ext {

template <class A>
bool saves_result(const Parameters<A>& parameters) {
  return make<A>(parameters).saves_result();
}

template <class A>
auto make_backward_node(const at::Tensor& input, const Parameters<A>& parameters) {
  auto node = make_node<BackwardNode<A>>();
  node->set_next_edges(torch::autograd::collect_next_edges(input));
  node->parameters = parameters;
  node->saved_is_output = saves_result<A>(parameters);
  return node;
}

// `compute(input)` makes the result below Autograd, `finish(result)` adds a forward-mode tangent,
// which a saved result has to carry.
template <class A, class Compute, class Finish>
at::Tensor differentiable(const at::Tensor& input, const Parameters<A>& parameters, Compute compute,
                          Finish finish) {
  if (!torch::autograd::compute_requires_grad(input)) {
    at::Tensor result = compute(input);
    finish(result);
    return result;
  }
  auto node = make_backward_node<A>(input, parameters);
  if (!node->saved_is_output) node->saved[0] = SavedVariable(input, /*is_output=*/false);
  at::Tensor result = compute(input);
  torch::autograd::set_history(result, node);
  finish(result);
  if (node->saved_is_output) node->saved[0] = SavedVariable(result, /*is_output=*/true);
  return result;
}

// In place on a plain tensor that is not a view whose base needs a gradient.
template <class A>
void differentiable_in_place(at::Tensor& input, const Parameters<A>& parameters) {
  const A activation = make<A>(parameters);
  const auto op = cpu::describe(activation, cpu::Pass::kForward);
  const bool requires_grad = torch::autograd::compute_requires_grad(input);
  torch::autograd::check_inplace(input, requires_grad);
  if (!requires_grad) {
    cpu::run(op, input, input, {});
    torch::autograd::increment_version(input);
    return;
  }
  auto node = make_backward_node<A>(input, parameters);
  if (!node->saved_is_output)
    node->saved[0] = SavedVariable(input.clone(), /*is_output=*/false);  // with its history
  cpu::run(op, input, input, {});
  torch::autograd::increment_version(input);
  torch::autograd::rebase_history(input, node);
  if (node->saved_is_output) node->saved[0] = SavedVariable(input, /*is_output=*/true);
}

}  // namespace activations_ext
