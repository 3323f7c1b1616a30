// The nodes of the graph for a pointwise activation, written as torch's generated ones are.
#pragma once

#include "../kind.h"
#include "node.h"

namespace activations_ext {

// Saves the activation's index before its parameters.
template <class N, std::size_t kSaved, std::size_t kInputs>
struct PointwiseNode : SavingNode<N, 1 + kMaxArity, kSaved, kInputs> {
  using Base = SavingNode<N, 1 + kMaxArity, kSaved, kInputs>;

  std::string name() const override { return N::title_of(kind_in(this->parameters)); }
  void remember(const Kind& kind, const Values& values) {
    this->parameters[0] = kind.index;
    std::copy(values.begin(), values.end(), this->parameters.begin() + 1);
  }

 protected:
  using Remembered = std::array<double, 1 + kMaxArity>;
  static const Kind& kind_in(const Remembered& remembered) { return kinds()[int(remembered[0])]; }
  static Values values_in(const Remembered& remembered) {
    Values values;
    std::copy(remembered.begin() + 1, remembered.end(), values.begin());
    return values;
  }
};

// grad_input = grad_output · slope
struct BackwardNode : PointwiseNode<BackwardNode, 1, 1> {
  static std::string title() { return "PointwiseBackward"; }
  static std::string title_of(const Kind& kind) { return camel_case(kind.name) + "Backward"; }
  static variable_list gradients(at::Tensor grad_output, const Arguments& of);
};

// The derivatives of grad_output · slope(saved) with respect to both.
struct DoubleBackwardNode : PointwiseNode<DoubleBackwardNode, 2, 2> {
  static std::string title() { return "PointwiseBackwardBackward"; }
  static std::string title_of(const Kind& kind) {
    return camel_case(kind.name) + "BackwardBackward";
  }
  static variable_list gradients(at::Tensor grad, const Arguments& of);
};

// With the activation and its parameters. Each activation's is of a type of its own, for Python.
template <class N>
using NodeOf = decltype(make_node<N>());
NodeOf<BackwardNode> make_backward_node(const Kind& kind, const Values& values);
NodeOf<DoubleBackwardNode> make_double_backward_node(const Kind& kind, const Values& values);

}  // namespace activations_ext
