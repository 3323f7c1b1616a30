#include "nodes.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros_like.h>

#include "../ops/pointwise_ops.h"
#include "reuse.h"

namespace activations_ext {

variable_list BackwardNode::gradients(at::Tensor grad_output, const Arguments& of) {
  const Kind& kind = kind_in(of.parameters);
  const Values values = values_in(of.parameters);
  const at::Tensor& saved = of.saved[0];
  if (grad_output.layout() != at::kStrided && saved.layout() == at::kStrided)
    return {grad_output * call_backward(kind, at::ones_like(saved), saved, values, of.of_result)};
  if (may_overwrite(grad_output, saved)) {
    const AnyActivation activation = kind.make(values, saved.scalar_type());
    launch_on(saved).pointwise_into(grad_output, activation.backward(of.of_result), grad_output,
                                    saved);
    return {std::move(grad_output)};
  }
  return {call_backward(kind, grad_output, saved, values, of.of_result)};
}

variable_list DoubleBackwardNode::gradients(at::Tensor grad, const Arguments& of) {
  const Kind& kind = kind_in(of.parameters);
  const Values values = values_in(of.parameters);
  const auto& [saved, grad_output] = of.saved;
  variable_list result(2);
  if (of.needed[0]) result[0] = call_backward(kind, grad, saved, values, of.of_result);
  if (of.needed[1]) {
    result[1] = kind.is_curved()
                    ? call_curvature(kind, grad * grad_output, saved, values, of.of_result)
                    : at::zeros_like(grad);
  }
  return result;
}

namespace {

template <class N, class A>
struct Typed final : N {};

template <class N, class A>
NodeOf<N> make_typed() {
  return make_node<Typed<N, A>>();
}

template <class N, class... A>
NodeOf<N> make_node_of(TypeList<A...>, const Kind& kind, const Values& values) {
  constexpr NodeOf<N> (*const kMakers[])() = {&make_typed<N, A>...};
  NodeOf<N> node = kMakers[kind.index]();
  node->remember(kind, values);
  return node;
}

template <class N, class... A>
void name_nodes_of(TypeList<A...>) {
  (node_names().emplace_back(&typeid(Typed<N, A>), N::title_of(kind_of<A>())), ...);
}

const bool named = [] {
  name_nodes_of<BackwardNode>(Activations());
  name_nodes_of<DoubleBackwardNode>(Activations());
  return true;
}();

}  // namespace

NodeOf<BackwardNode> make_backward_node(const Kind& kind, const Values& values) {
  return make_node_of<BackwardNode>(Activations(), kind, values);
}
NodeOf<DoubleBackwardNode> make_double_backward_node(const Kind& kind, const Values& values) {
  return make_node_of<DoubleBackwardNode>(Activations(), kind, values);
}

}  // namespace activations_ext
