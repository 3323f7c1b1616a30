#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <string>

namespace activations_ext {

// The operator of this package with that name.
inline c10::OperatorHandle find_operator(const std::string& name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(("activations_ext::" + name).c_str(), "");
}

// The same, to be called through the dispatcher. A function that does nothing else gives its own
// type as the signature.
template <class Signature>
auto find_operator(const std::string& name) {
  return find_operator(name).typed<Signature>();
}

}  // namespace activations_ext
