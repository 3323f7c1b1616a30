// What differs between torch versions, and nothing else: nodes are held by std::shared_ptr up to
// 2.12, which is no longer tested (2.11 compiles, and computes the same numbers), and by
// c10::intrusive_ptr from 2.13 on.
#pragma once

#include <torch/csrc/autograd/edge.h>
#include <torch/csrc/autograd/function.h>

#include <memory>
#include <type_traits>
#include <utility>

namespace activations_ext {

using NodePtr = decltype(torch::autograd::Edge::function);

template <class N>
auto make_node() {
  if constexpr (std::is_same_v<NodePtr, std::shared_ptr<torch::autograd::Node>>) {
    return std::shared_ptr<N>(new N(), [](N* node) { deleteNode(node); });
  } else {
    return c10::make_intrusive<N>();
  }
}

}  // namespace activations_ext
