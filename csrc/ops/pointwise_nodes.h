// The nodes of the graph for a pointwise activation.
#pragma once

#include "../autograd/node.h"
#include "../kinds/kind.h"

namespace activations_ext {

// An activation with its parameters, as a node saves it.
struct SavedActivation {
  int64_t index;
  Values values;

  const Kind& kind() const { return kinds()[index]; }
};

// grad_input = grad_output · slope
struct PointwiseBackward {
  struct Saved : SavedActivation {
    at::Tensor saved;
    bool of_result;
    auto members() { return std::tie(index, values[0], values[1], saved, of_result); }
  };
  static constexpr std::size_t kInputs = 1;
  static std::string title() { return "PointwiseBackward"; }
  static std::string title(const Kind& kind) { return camel_case(kind.name) + "Backward"; }
  static variable_list gradients(variable_list grads, const Saved& of, const Needed<1>& needed);
};

// The derivatives of grad_output · slope(saved) with respect to both. `grad_output` is undefined
// where the second will not be needed.
struct PointwiseDoubleBackward {
  struct Saved : SavedActivation {
    at::Tensor saved, grad_output;
    bool of_result;
    auto members() { return std::tie(index, values[0], values[1], saved, grad_output, of_result); }
  };
  static constexpr std::size_t kInputs = 2;
  static std::string title() { return "PointwiseBackwardBackward"; }
  static std::string title(const Kind& kind) { return camel_case(kind.name) + "BackwardBackward"; }
  static variable_list gradients(variable_list grads, const Saved& of, const Needed<2>& needed);
};

// Each activation has node types of its own, which give them their names in Python.
template <class Rule>
using NodeOf = decltype(make_node<GraphNode<Rule>>());
NodeOf<PointwiseBackward> make_backward_node(const Kind& kind);
NodeOf<PointwiseDoubleBackward> make_double_backward_node(const Kind& kind);

}  // namespace activations_ext
