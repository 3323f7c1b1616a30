// An activation with its type erased: all that the operators, the graph nodes and Python know about
// it. kinds.cpp builds the list from the structs.
#pragma once

#include <c10/core/ScalarType.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include "../contract/pointwise.h"
#include "../contract/registry.h"

namespace activations_ext {

// The values of an activation's parameters, in order; the rest are 0.
constexpr std::size_t kMaxArity = 2;
using Values = std::array<double, kMaxArity>;

struct AnyActivation;

struct Kind {
  const char* name;
  std::span<const Parameter> parameters;
  int index;  // in Activations
  Shape shape;
  bool from_input, from_result;  // what backward may read
  // Checks the parameters, and rounds them for tensors of `dtype`.
  AnyActivation (*make)(const Values& values, at::ScalarType dtype);

  std::size_t arity() const { return parameters.size(); }
  bool is_curved() const { return shape == Shape::kSmooth || shape == Shape::kBent; }
};

// An activation's struct with its parameters.
struct AnyActivation {
  const Kind* kind;
  bool saves_result_in_place;
  alignas(double) std::array<std::byte, 3 * sizeof(double)> memory;

  Pointwise pass(Pass pass) const {
    return {memory.data(), kind->index, pass, kind->shape != Shape::kSmooth};
  }
  Pointwise forward() const { return pass(Pass::kForward); }
  Pointwise backward(bool of_result) const {
    return pass(of_result ? Pass::kBackwardOfResult : Pass::kBackward);
  }
  Pointwise curvature(bool of_result) const {
    return pass(of_result ? Pass::kCurvatureOfResult : Pass::kCurvature);
  }
};

// In the order of Activations.
std::span<const Kind> kinds();
template <class A>
const Kind& kind_of() {
  return kinds()[Activations::index_of<A>()];
}

}  // namespace activations_ext
