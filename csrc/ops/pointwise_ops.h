// The operators of one activation: `name`, `name_` in place, `name_backward` and `name_curvature`.
// The last two read what was saved: the input or, if `of_result`, the result.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <string>
#include <utility>

#include "../kinds/kind.h"

namespace activations_ext {

// Calls through the dispatcher.
at::Tensor call_forward(const Kind& kind, const at::Tensor& input, const Values& values);
at::Tensor& call_in_place(const Kind& kind, at::Tensor& input, const Values& values);
at::Tensor call_backward(const Kind& kind, const at::Tensor& grad_output, const at::Tensor& saved,
                         const Values& values, bool of_result);
at::Tensor call_curvature(const Kind& kind, const at::Tensor& grad_output, const at::Tensor& saved,
                          const Values& values, bool of_result);

namespace detail {

template <std::size_t>
using Real = double;

// The dispatcher wants each parameter as an argument: use(std::index_sequence of the parameters).
template <class Use>
auto with_arity(const Kind& kind, Use use) {
  static_assert(kMaxArity == 2);
  switch (kind.arity()) {
    case 0:
      return use(std::make_index_sequence<0>());
    case 1:
      return use(std::make_index_sequence<1>());
    default:
      return use(std::make_index_sequence<2>());
  }
}

// F::call(kind, tensors…, values) as kernels.
template <class F, std::size_t... I>
auto unary(const Kind& kind, std::index_sequence<I...>) {
  return [&kind](const at::Tensor& input, Real<I>... value) {
    return F::call(kind, input, Values{value...});
  };
}
template <class F, std::size_t... I>
auto in_place(const Kind& kind, std::index_sequence<I...>) {
  return [&kind](at::Tensor& input, Real<I>... value) -> at::Tensor& {
    return F::call(kind, input, Values{value...});
  };
}
template <class F, std::size_t... I>
auto binary(const Kind& kind, std::index_sequence<I...>) {
  return [&kind](const at::Tensor& grad_output, const at::Tensor& saved, Real<I>... value,
                 bool of_result) {
    return F::call(kind, grad_output, saved, Values{value...}, of_result);
  };
}

}  // namespace detail

// Registers structs with a static `call` for every activation.
template <class Forward>
void implement_forward(torch::Library& library, const Kind& kind) {
  detail::with_arity(
      kind, [&](auto indices) { library.impl(kind.name, detail::unary<Forward>(kind, indices)); });
}

template <class InPlace>
void implement_in_place(torch::Library& library) {
  for (const Kind& kind : kinds()) {
    const std::string name = std::string(kind.name) + "_";
    detail::with_arity(kind, [&](auto indices) {
      library.impl(name.c_str(), detail::in_place<InPlace>(kind, indices));
    });
  }
}

template <class Forward, class InPlace, class Backward, class Curvature>
void implement_all(torch::Library& library) {
  implement_in_place<InPlace>(library);
  for (const Kind& kind : kinds()) {
    implement_forward<Forward>(library, kind);
    const std::string name = kind.name;
    detail::with_arity(kind, [&](auto indices) {
      library.impl((name + "_backward").c_str(), detail::binary<Backward>(kind, indices));
      library.impl((name + "_curvature").c_str(), detail::binary<Curvature>(kind, indices));
    });
  }
}

}  // namespace activations_ext
