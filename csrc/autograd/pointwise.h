// Forward through the graph: saves, history and forward-mode tangents.
#pragma once

#include "in_place.h"
#include "nodes.h"

namespace activations_ext {

// `compute(input)` makes the result below Autograd, `finish(result)` adds a forward-mode tangent,
// which a saved result has to carry. The input is saved wherever its slope has a formula, as torch
// does: a result may be overwritten, and its rounding is an error of the slope.
template <class A, class Compute, class Finish>
at::Tensor differentiable(const at::Tensor& input, const Parameters<A>& parameters, Compute compute,
                          Finish finish) {
  if (!torch::autograd::compute_requires_grad(input)) {
    at::Tensor result = compute(input);
    finish(result);
    return result;
  }
  auto node = make_node<BackwardNode<A>>();
  node->set_next_edges(torch::autograd::collect_next_edges(input));
  node->parameters = parameters;
  node->of_result = node->saved_is_output = !kFromInput<A>;
  if (!node->of_result) node->saved[0] = SavedVariable(input, /*is_output=*/false);
  at::Tensor result = compute(input);
  torch::autograd::set_history(result, node);
  finish(result);
  if (node->of_result) node->saved[0] = SavedVariable(result, /*is_output=*/true);
  return result;
}

// The same in place.
template <class A, class Compute>
at::Tensor& differentiable_in_place(at::Tensor& input, const Parameters<A>& parameters,
                                    Compute compute) {
  const bool of_result = saves_result_in_place(make<A>(parameters, input.scalar_type()));
  const auto save = [&](BackwardNode<A>& node, const at::Tensor& original) {
    node.parameters = parameters;
    node.of_result = node.saved_is_output = of_result;
    node.saved[0] = SavedVariable(of_result ? input : original, /*is_output=*/of_result);
  };
  const auto tangent = [&](const at::Tensor& of, const at::Tensor& saved) {
    return Operator<A>::backward(of, saved, parameters, of_result);
  };
  return differentiable_in_place<BackwardNode<A>>(input, /*keeps_input=*/!of_result, compute, save,
                                                  tangent);
}

}  // namespace activations_ext
