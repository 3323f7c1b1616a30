// The operators softmax and log_softmax: schema, CPU, Meta, Autograd and functorch kernels. What
// the kernels do not cover (another device, layout or dtype) goes to torch's own function.
#include "softmax_ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/WrapDimUtils.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/softmax.h>
#include <torch/library.h>

#include <string>

#include "../autograd/batching.h"
#include "../autograd/node.h"
#include "../autograd/plain.h"
#include "../checks.h"
#include "../launch.h"
#include "../layout.h"
#include "find_operator.h"

namespace activations_ext {
namespace {

using at::Tensor;
using torch::autograd::isFwGradDefined;

// Either map by its place in the templates below.
template <bool kLogarithm>
constexpr const char* kName = kLogarithm ? "log_softmax" : "softmax";

template <bool kLogarithm>
Tensor call(const Tensor& input, int64_t dim) {
  static const auto op = find_operator<decltype(call<kLogarithm>)>(kName<kLogarithm>);
  return op.call(input, dim);
}

template <bool kLogarithm>
Tensor call_backward(const Tensor& grad_output, const Tensor& result, int64_t dim) {
  static const auto op = find_operator<decltype(call_backward<kLogarithm>)>(
      std::string(kName<kLogarithm>) + "_backward");
  return op.call(grad_output, result, dim);
}

// --- the formulas on torch's operators ----------------------------------------------------------

// y·(g − Σ y·g), and of the logarithm g − eʸ·Σ g: differentiable any number of times.
template <bool kLogarithm>
Tensor composite_backward(const Tensor& grad_output, const Tensor& result, int64_t dim) {
  if constexpr (kLogarithm)
    return grad_output - result.exp() * grad_output.sum(dim, /*keepdim=*/true);
  return result * (grad_output - (result * grad_output).sum(dim, /*keepdim=*/true));
}

// The derivative in the direction of `tangent`: softmax's Jacobian is symmetric, its logarithm's
// the transposed of what backward applies.
template <bool kLogarithm>
Tensor tangent_through(const Tensor& tangent, const Tensor& result, int64_t dim) {
  if constexpr (kLogarithm) return tangent - (result.exp() * tangent).sum(dim, /*keepdim=*/true);
  return call_backward<false>(tangent, result, dim);
}

template <bool kLogarithm>
Tensor torchs(const Tensor& input, int64_t dim) {
  return kLogarithm ? at::log_softmax(input, dim) : at::softmax(input, dim);
}

// --- devices and Meta ---------------------------------------------------------------------------

template <bool kLogarithm>
Tensor kernel_forward(const Tensor& input, int64_t dim) {
  dim = at::maybe_wrap_dim(dim, input.dim());
  check_storage(input);  // torch's operators would read memory that was freed
  if (!has_kernels(input.scalar_type())) return torchs<kLogarithm>(input, dim);
  return launch_on(input).softmax(input, dim, kLogarithm);
}

template <bool kLogarithm>
Tensor kernel_backward(const Tensor& grad_output, const Tensor& result, int64_t dim) {
  check_same(kName<kLogarithm>, grad_output, result);
  dim = at::maybe_wrap_dim(dim, result.dim());
  check_storage(grad_output);
  check_storage(result);
  if (!has_kernels(result.scalar_type()))
    return composite_backward<kLogarithm>(grad_output, result, dim);
  return launch_on(result).softmax_gradient(grad_output, result, dim, kLogarithm);
}

// What torch's autocast computes in float32 on CUDA.
template <bool kLogarithm>
Tensor in_float(const Tensor& input, int64_t dim) {
  c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::AutocastCUDA);
  return call<kLogarithm>(at::autocast::cached_cast(at::kFloat, input, at::kCUDA), dim);
}

template <bool kLogarithm>
Tensor meta_forward(const Tensor& input, int64_t dim) {
  at::maybe_wrap_dim(dim, input.dim());
  return at::empty_like(input, at::MemoryFormat::Contiguous);
}

template <bool kLogarithm>
Tensor meta_backward(const Tensor& grad_output, const Tensor& result, int64_t dim) {
  check_same(kName<kLogarithm>, grad_output, result);
  at::maybe_wrap_dim(dim, result.dim());
  return at::empty_like(result, at::MemoryFormat::Contiguous);
}

// --- Autograd -----------------------------------------------------------------------------------

template <bool kLogarithm>
struct SoftmaxBackward {
  struct Saved {
    Tensor result;
    int64_t dim;
    auto members() { return std::tie(result, dim); }
  };
  static constexpr std::size_t kInputs = 1;
  static std::string title() { return camel_case(kName<kLogarithm>) + "Backward"; }

  static variable_list gradients(variable_list grads, const Saved& of, const Needed<1>&) {
    return {call_backward<kLogarithm>(grads[0], of.result, of.dim)};
  }
};

const bool named = name_nodes<SoftmaxBackward<false>, SoftmaxBackward<true>>();

template <bool kLogarithm>
Tensor autograd_forward(const Tensor& input, int64_t dim) {
  const bool requires_grad = torch::autograd::compute_requires_grad(input);
  Tensor result = [&] {
    at::AutoDispatchBelowADInplaceOrView below;
    return call<kLogarithm>(input, dim);
  }();
  auto node = requires_grad ? make_node<GraphNode<SoftmaxBackward<kLogarithm>>>() : nullptr;
  if (requires_grad) {
    node->set_next_edges(torch::autograd::collect_next_edges(input));
    torch::autograd::set_history(result, node);
  }
  if (isFwGradDefined(input))
    result._set_fw_grad(tangent_through<kLogarithm>(tangent_of(input), result, dim), /*level=*/0,
                        /*is_inplace_op=*/false);
  if (requires_grad) node->remember({result, dim}, result);
  return result;
}

template <bool kLogarithm>
Tensor autograd_backward(const Tensor& grad_output, const Tensor& result, int64_t dim) {
  if (is_differentiated(grad_output, result))
    return composite_backward<kLogarithm>(grad_output, result, dim);
  at::AutoDispatchBelowADInplaceOrView below;
  return call_backward<kLogarithm>(grad_output, result, dim);
}

// --- functorch ----------------------------------------------------------------------------------

// `dim` of an example, in the batch whose dimension is in front; an example without dimensions has
// one class.
template <class Compute>
Tensor of_examples(const Tensor& batch, int64_t dim, Compute compute) {
  const int64_t rank = batch.dim() - 1;
  dim = at::maybe_wrap_dim(dim, rank);
  if (rank == 0) return compute(batch.unsqueeze(1), 1).squeeze(1);
  return compute(batch, dim + 1);
}

template <bool kLogarithm>
Tensor batched_forward(const Tensor& input, int64_t dim) {
  return batched(input, [&](const Tensor& x) {
    if (vmap_level(input) == 0) return call<kLogarithm>(x, dim);
    return of_examples(x, dim, [](const Tensor& y, int64_t d) { return call<kLogarithm>(y, d); });
  });
}

template <bool kLogarithm>
Tensor batched_backward(const Tensor& grad_output, const Tensor& result, int64_t dim) {
  const bool any = vmap_level(grad_output) != 0 || vmap_level(result) != 0;
  return batched(grad_output, result, [&](const Tensor& g, const Tensor& y) {
    if (!any) return call_backward<kLogarithm>(g, y, dim);
    return of_examples(y, dim, [&](const Tensor& z, int64_t d) {
      return call_backward<kLogarithm>(g.reshape_symint(z.sym_sizes()), z, d);
    });
  });
}

template <bool kLogarithm, class Library>
void implement(Library& library, Tensor (*forward)(const Tensor&, int64_t),
               Tensor (*backward)(const Tensor&, const Tensor&, int64_t)) {
  library.impl(kName<kLogarithm>, forward);
  library.impl((std::string(kName<kLogarithm>) + "_backward").c_str(), backward);
}

}  // namespace

Tensor softmax(const Tensor& input, int64_t dim) { return call<false>(input, dim); }
Tensor log_softmax(const Tensor& input, int64_t dim) { return call<true>(input, dim); }

TORCH_LIBRARY_FRAGMENT(activations_ext, library) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  library.def("softmax(Tensor input, int dim) -> Tensor", tags);
  library.def("log_softmax(Tensor input, int dim) -> Tensor", tags);
  library.def("softmax_backward(Tensor grad_output, Tensor result, int dim) -> Tensor", tags);
  library.def("log_softmax_backward(Tensor grad_output, Tensor result, int dim) -> Tensor", tags);
}

TORCH_LIBRARY_IMPL(activations_ext, CPU, library) {
  implement<false>(library, &kernel_forward<false>, &kernel_backward<false>);
  implement<true>(library, &kernel_forward<true>, &kernel_backward<true>);
}

TORCH_LIBRARY_IMPL(activations_ext, CUDA, library) {
  implement<false>(library, &kernel_forward<false>, &kernel_backward<false>);
  implement<true>(library, &kernel_forward<true>, &kernel_backward<true>);
}

TORCH_LIBRARY_IMPL(activations_ext, AutocastCUDA, library) {
  library.impl(kName<false>, &in_float<false>);
  library.impl(kName<true>, &in_float<true>);
}

TORCH_LIBRARY_IMPL(activations_ext, Meta, library) {
  implement<false>(library, &meta_forward<false>, &meta_backward<false>);
  implement<true>(library, &meta_forward<true>, &meta_backward<true>);
}

TORCH_LIBRARY_IMPL(activations_ext, CompositeExplicitAutograd, library) {
  implement<false>(library, &torchs<false>, &composite_backward<false>);
  implement<true>(library, &torchs<true>, &composite_backward<true>);
}

TORCH_LIBRARY_IMPL(activations_ext, Autograd, library) {
  implement<false>(library, &autograd_forward<false>, &autograd_backward<false>);
  implement<true>(library, &autograd_forward<true>, &autograd_backward<true>);
}

TORCH_LIBRARY_IMPL(activations_ext, FuncTorchBatched, library) {
  implement<false>(library, &batched_forward<false>, &batched_backward<false>);
  implement<true>(library, &batched_forward<true>, &batched_backward<true>);
}

}  // namespace activations_ext
