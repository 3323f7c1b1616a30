// What differs between torch versions, and nothing else. Up to 2.12, which is no longer tested
// (2.11 compiles, and computes the same numbers), nodes are held by std::shared_ptr, from 2.13 on
// by c10::intrusive_ptr; and up to 2.12 tensors have names, at which Autograd's threads for GPUs do
// not look.
#pragma once

#include <torch/csrc/autograd/edge.h>
#include <torch/csrc/autograd/function.h>
#include <torch/version.h>

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

// Named tensors are never plain.
inline c10::DispatchKeySet without_names(c10::DispatchKeySet keys) {
#if TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR < 13
  return keys.remove(c10::DispatchKey::Named);
#else
  return keys;
#endif
}

}  // namespace activations_ext
