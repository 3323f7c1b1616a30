// The graph nodes of a pointwise activation, written as torch's generated ones are.
#pragma once

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include "../ops.h"
#include "node.h"
#include "reuse.h"

namespace activations_ext {

// grad_input = grad_output · slope
template <class A>
struct BackwardNode : SavingNode<kArity<A>, 1> {
  std::string name() const override { return std::string(A::kName) + "_backward"; }

  variable_list apply(variable_list&& grads) override {
    std::lock_guard<std::mutex> lock(this->mutex_);
    at::Tensor grad_output = std::move(grads[0]);
    if (!grad_output.defined() || !this->task_should_compute_output(0)) return {at::Tensor()};
    const at::Tensor saved = this->unpack(0);
    if (may_overwrite(grad_output, saved)) {
      const A activation = make<A>(this->parameters);
      cpu::run(cpu::describe(activation, cpu::Pass::kBackward), grad_output, grad_output, saved);
      return {std::move(grad_output)};
    }
    return {Operator<A>::backward(grad_output, saved, this->parameters)};
  }
};

// The derivatives of grad_output · slope(saved) with respect to both.
template <class A>
struct DoubleBackwardNode : SavingNode<kArity<A>, 2> {
  std::string name() const override { return std::string(A::kName) + "_double_backward"; }

  variable_list apply(variable_list&& grads) override {
    std::lock_guard<std::mutex> lock(this->mutex_);
    variable_list result(2);
    if (!grads[0].defined()) return result;
    const at::Tensor saved = this->unpack(0);
    if (this->task_should_compute_output(0))
      result[0] = Operator<A>::backward(grads[0], saved, this->parameters);
    if (this->task_should_compute_output(1)) {
      result[1] = kCurved<A>
                      ? Operator<A>::curvature(grads[0] * this->unpack(1), saved, this->parameters)
                      : at::zeros_like(grads[0]);
    }
    return result;
  }
};

}  // namespace activations_ext
