// The parameters of an activation: which are refused, and how the others are rounded.
#pragma once

#include <ATen/OpMathType.h>
#include <c10/core/ScalarType.h>

#include <tuple>

#include "../contract/activation.h"
#include "../contract/registry.h"

namespace activations_ext {

// What the parameters of one activation must satisfy; none by default.
template <class A>
inline void check_parameters(const A&) {}
template <>
void check_parameters(const CELU&);
template <>
void check_parameters(const Hardtanh&);
template <>
void check_parameters(const Softshrink&);
template <>
void check_parameters(const RReLU&);
template <>
void check_parameters(const ShiftDropout&);

// A parameter as a number that `dtype` can hold; one that is too large for it is refused, as torch
// does, instead of becoming infinite.
double rounded_to(at::ScalarType dtype, double number, const char* name, const char* parameter);

// The activation of these parameters, for tensors of `dtype`.
template <class A>
A make(Parameters<A> parameters, at::ScalarType dtype) {
  const auto activation = [&] {
    return std::apply([](auto... parameter) { return A{parameter...}; }, parameters);
  };
  check_parameters(activation());
  for (std::size_t i = 0; i < kArity<A>; ++i) {
    const Parameter& parameter = A::kParameters[i];
    const auto holds = parameter.role == Role::kFactor ? at::toOpMathType(dtype) : dtype;
    const double rounded = rounded_to(holds, parameters[i], A::kName, parameter.name);
    if (parameter.role == Role::kBound) parameters[i] = rounded;
  }
  return activation();
}

}  // namespace activations_ext
