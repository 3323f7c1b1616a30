#include "pointwise_nodes.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros_like.h>

#include "../autograd/reuse.h"
#include "pointwise_ops.h"

namespace activations_ext {

variable_list PointwiseBackward::gradients(variable_list grads, const Saved& of, const Needed<1>&) {
  at::Tensor grad_output = std::move(grads[0]);
  const Kind& kind = of.kind();
  const at::Tensor& saved = of.saved;
  if (grad_output.layout() != at::kStrided && saved.layout() == at::kStrided)
    return {grad_output *
            call_backward(kind, at::ones_like(saved), saved, of.values, of.of_result)};
  if (may_overwrite(grad_output, saved)) {
    const AnyActivation activation = kind.make(of.values, saved.scalar_type());
    launch_on(saved).pointwise_into(grad_output, activation.backward(of.of_result), grad_output,
                                    saved);
    return {std::move(grad_output)};
  }
  return {call_backward(kind, grad_output, saved, of.values, of.of_result)};
}

variable_list PointwiseDoubleBackward::gradients(variable_list grads, const Saved& of,
                                                 const Needed<2>& needed) {
  const at::Tensor& grad = grads[0];
  const Kind& kind = of.kind();
  variable_list result(2);
  if (needed[0]) result[0] = call_backward(kind, grad, of.saved, of.values, of.of_result);
  if (needed[1]) {
    result[1] = kind.is_curved()
                    ? call_curvature(kind, grad * of.grad_output, of.saved, of.values, of.of_result)
                    : at::zeros_like(grad);
  }
  return result;
}

namespace {

template <class Rule, class A>
struct Typed final : GraphNode<Rule> {
  std::string name() const override { return Rule::title(kind_of<A>()); }
};

template <class Rule, class A>
NodeOf<Rule> make_typed() {
  return make_node<Typed<Rule, A>>();
}

template <class Rule, class... A>
NodeOf<Rule> make_node_of(TypeList<A...>, const Kind& kind) {
  constexpr NodeOf<Rule> (*const kMakers[])() = {&make_typed<Rule, A>...};
  return kMakers[kind.index]();
}

template <class Rule, class... A>
void name_nodes_of(TypeList<A...>) {
  (node_names().emplace_back(&typeid(Typed<Rule, A>), Rule::title(kind_of<A>())), ...);
}

const bool named = [] {
  name_nodes_of<PointwiseBackward>(Activations());
  name_nodes_of<PointwiseDoubleBackward>(Activations());
  return true;
}();

}  // namespace

NodeOf<PointwiseBackward> make_backward_node(const Kind& kind) {
  return make_node_of<PointwiseBackward>(Activations(), kind);
}
NodeOf<PointwiseDoubleBackward> make_double_backward_node(const Kind& kind) {
  return make_node_of<PointwiseDoubleBackward>(Activations(), kind);
}

}  // namespace activations_ext
