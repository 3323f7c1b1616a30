// The operators of one activation: `name`, `name_` in place, `name_backward` and `name_curvature`.
// The last two read what was saved: the input or, if `of_result`, the result.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>

#include "../registry.h"
#include "find_operator.h"

namespace activations_ext {

namespace detail {

template <std::size_t>
using Real = double;

template <class A, class Indices = std::make_index_sequence<kArity<A>>>
struct Signature;

template <class A, std::size_t... I>
struct Signature<A, std::index_sequence<I...>> {
  using Unary = at::Tensor(const at::Tensor&, Real<I>...);
  using InPlace = at::Tensor&(at::Tensor&, Real<I>...);
  using Binary = at::Tensor(const at::Tensor&, const at::Tensor&, Real<I>..., bool);

  // F::call<A>(tensors…, parameters) with the parameters as single arguments, as the dispatcher
  // wants it.
  template <class F>
  static at::Tensor unary(const at::Tensor& input, Real<I>... parameter) {
    return F::template call<A>(input, Parameters<A>{parameter...});
  }
  template <class F>
  static at::Tensor& in_place(at::Tensor& input, Real<I>... parameter) {
    return F::template call<A>(input, Parameters<A>{parameter...});
  }
  template <class F>
  static at::Tensor binary(const at::Tensor& grad_output, const at::Tensor& saved,
                           Real<I>... parameter, bool of_result) {
    return F::template call<A>(grad_output, saved, Parameters<A>{parameter...}, of_result);
  }
};

}  // namespace detail

// Calls through the dispatcher.
template <class A>
struct Operator {
  using Unary = typename detail::Signature<A>::Unary;
  using InPlace = typename detail::Signature<A>::InPlace;
  using Binary = typename detail::Signature<A>::Binary;

  static at::Tensor forward(const at::Tensor& input, const Parameters<A>& parameters) {
    static const auto op = find_operator<Unary>(A::kName);
    return std::apply([&](auto... parameter) { return op.call(input, parameter...); }, parameters);
  }
  static at::Tensor& in_place(at::Tensor& input, const Parameters<A>& parameters) {
    static const auto op = find_operator<InPlace>(std::string(A::kName) + "_");
    return std::apply(
        [&](auto... parameter) -> at::Tensor& { return op.call(input, parameter...); }, parameters);
  }
  static at::Tensor backward(const at::Tensor& grad_output, const at::Tensor& saved,
                             const Parameters<A>& parameters, bool of_result) {
    static const auto op = find_operator<Binary>(std::string(A::kName) + "_backward");
    return std::apply(
        [&](auto... parameter) { return op.call(grad_output, saved, parameter..., of_result); },
        parameters);
  }
  static at::Tensor curvature(const at::Tensor& grad_output, const at::Tensor& saved,
                              const Parameters<A>& parameters, bool of_result) {
    static const auto op = find_operator<Binary>(std::string(A::kName) + "_curvature");
    return std::apply(
        [&](auto... parameter) { return op.call(grad_output, saved, parameter..., of_result); },
        parameters);
  }
};

// Registers structs with a static `call<A>` for every activation.
template <class InPlace, class Library>
void implement_in_place(Library& library) {
  Activations::for_each([&]<Activation A>() {
    const std::string name = std::string(A::kName) + "_";
    library.impl(name.c_str(), &detail::Signature<A>::template in_place<InPlace>);
  });
}

template <class Forward, class InPlace, class Backward, class Curvature, class Library>
void implement_all(Library& library) {
  implement_in_place<InPlace>(library);
  Activations::for_each([&]<Activation A>() {
    using Signature = detail::Signature<A>;
    const std::string name = A::kName;
    library.impl(name.c_str(), &Signature::template unary<Forward>);
    library.impl((name + "_backward").c_str(), &Signature::template binary<Backward>);
    library.impl((name + "_curvature").c_str(), &Signature::template binary<Curvature>);
  });
}

}  // namespace activations_ext
