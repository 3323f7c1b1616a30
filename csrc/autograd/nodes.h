// The graph nodes of a pointwise activation, written as torch's generated ones are.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros_like.h>

#include "../checks.h"
#include "../launch.h"
#include "../ops/pointwise_ops.h"
#include "node.h"
#include "reuse.h"

namespace activations_ext {

// grad_input = grad_output · slope
template <class A>
struct BackwardNode : SavingNode<BackwardNode<A>, kArity<A>, 1, 1> {
  static std::string title() { return camel_case(A::kName) + "Backward"; }

  static variable_list gradients(at::Tensor grad_output,
                                 const typename BackwardNode::Arguments& of) {
    const at::Tensor& saved = of.saved[0];
    if (grad_output.layout() != at::kStrided && saved.layout() == at::kStrided)
      return {grad_output *
              Operator<A>::backward(at::ones_like(saved), saved, of.parameters, of.of_result)};
    if (may_overwrite(grad_output, saved)) {
      const A activation = make<A>(of.parameters, saved.scalar_type());
      launch_on(saved).pointwise_into(grad_output, backward_of(activation, of.of_result),
                                      grad_output, saved);
      return {std::move(grad_output)};
    }
    return {Operator<A>::backward(grad_output, saved, of.parameters, of.of_result)};
  }
};

// The derivatives of grad_output · slope(saved) with respect to both.
template <class A>
struct DoubleBackwardNode : SavingNode<DoubleBackwardNode<A>, kArity<A>, 2, 2> {
  static std::string title() { return camel_case(A::kName) + "BackwardBackward"; }

  static variable_list gradients(at::Tensor grad,
                                 const typename DoubleBackwardNode::Arguments& of) {
    const auto& [saved, grad_output] = of.saved;
    variable_list result(2);
    if (of.needed[0]) result[0] = Operator<A>::backward(grad, saved, of.parameters, of.of_result);
    if (of.needed[1]) {
      result[1] = kCurved<A> ? Operator<A>::curvature(grad * grad_output, saved, of.parameters,
                                                      of.of_result)
                             : at::zeros_like(grad);
    }
    return result;
  }
};

}  // namespace activations_ext
