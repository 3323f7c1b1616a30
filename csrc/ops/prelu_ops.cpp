// The operator prelu: schema, device, Meta, Autograd and functorch kernels.
#include "prelu_ops.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sum_to_size.h>
#include <torch/library.h>

#include "../activations/prelu.h"
#include "../autograd/node.h"
#include "../autograd/reuse.h"
#include "../autograd/symbolic.h"
#include "../checks.h"
#include "../launch.h"
#include "find_operator.h"

namespace activations_ext {

at::Tensor prelu(const at::Tensor& input, const at::Tensor& weight) {
  static const auto op = find_operator<decltype(prelu)>("prelu");
  return op.call(input, weight);
}

namespace {

using at::Tensor;
using torch::autograd::isFwGradDefined;
using Gradients = std::tuple<Tensor, Tensor>;  // of the input and of the weight

Gradients call_prelu_backward(const Tensor& grad_output, const Tensor& input,
                              const Tensor& weight) {
  static const auto op = find_operator<decltype(call_prelu_backward)>("prelu_backward");
  return op.call(grad_output, input, weight);
}

// --- the formula on torch's operators, for vmap, forward mode and second derivatives ------------

// The weight with its channels at the input's dimension 1.
Tensor broadcastable(const Tensor& weight, const Tensor& input) {
  if (input.dim() < 2) return weight.reshape({});
  c10::SymDimVector shape(input.dim(), 1);
  shape[1] = -1;
  return weight.reshape_symint(shape);
}

Tensor composite(const Tensor& input, const Tensor& weight) {
  check_prelu_weight(input, weight);
  return PReLU::value<Symbolic>(input, broadcastable(weight, input)).tensor;
}

Gradients composite_backward(const Tensor& grad_output, const Tensor& input, const Tensor& weight) {
  const Tensor wide = broadcastable(weight, input);
  const Tensor shares = PReLU::grad_weight<Symbolic>(grad_output, input).tensor;
  return {PReLU::grad_input<Symbolic>(grad_output, input, wide).tensor,
          shares.sum_to_size_symint(wide.sym_sizes()).reshape_symint(weight.sym_sizes())};
}

// --- devices and Meta ---------------------------------------------------------------------------

void check_backward(const Tensor& grad_output, const Tensor& input, const Tensor& weight) {
  check_prelu_weight(input, weight);
  check_same("prelu", grad_output, input);
}

Tensor kernel_forward(const Tensor& input, const Tensor& weight) {
  check_prelu_weight(input, weight);
  return launch_on(input).prelu(input, weight);
}

Gradients kernel_backward(const Tensor& grad_output, const Tensor& input, const Tensor& weight) {
  check_backward(grad_output, input, weight);
  return launch_on(input).prelu_backward(grad_output, input, weight, /*overwrite=*/false);
}

Tensor meta_forward(const Tensor& input, const Tensor& weight) {
  check_prelu_weight(input, weight);
  return at::empty_like(input);
}

Gradients meta_backward(const Tensor& grad_output, const Tensor& input, const Tensor& weight) {
  check_backward(grad_output, input, weight);
  return {at::empty_like(input), at::empty_like(weight, at::MemoryFormat::Contiguous)};
}

Tensor no_forward(const Tensor& input, const Tensor&) { fail_no_kernel("prelu", "input", input); }
Gradients no_backward(const Tensor& grad_output, const Tensor&, const Tensor&) {
  fail_no_kernel("prelu", "grad_output", grad_output);
}

// --- Autograd -----------------------------------------------------------------------------------

struct PReLUBackward {
  struct Saved {
    Tensor input, weight;
    auto members() { return std::tie(input, weight); }
  };
  static constexpr std::size_t kInputs = 2;
  static std::string title() { return "PreluBackward"; }

  static variable_list gradients(variable_list grads, const Saved& of, const Needed<2>& needed) {
    const Tensor grad_output = std::move(grads[0]);
    const auto& [input, weight] = of;
    Tensor grad_input, grad_weight;
    if (may_overwrite(grad_output, input) && is_plain(weight)) {
      check_prelu_weight(input, weight);
      std::tie(grad_input, grad_weight) =
          launch_on(input).prelu_backward(grad_output, input, weight, /*overwrite=*/true);
    } else {
      std::tie(grad_input, grad_weight) = call_prelu_backward(grad_output, input, weight);
    }
    return {needed[0] ? grad_input : Tensor(), needed[1] ? grad_weight : Tensor()};
  }
};

const bool named = name_nodes<PReLUBackward>();

Tensor autograd_forward(const Tensor& input, const Tensor& weight) {
  if (isFwGradDefined(input) || isFwGradDefined(weight)) return composite(input, weight);
  const bool requires_grad = torch::autograd::compute_requires_grad(input, weight);
  Tensor result = [&] {
    at::AutoDispatchBelowADInplaceOrView below;
    return activations_ext::prelu(input, weight);
  }();
  if (requires_grad) {
    auto node = make_node<GraphNode<PReLUBackward>>();
    node->set_next_edges(torch::autograd::collect_next_edges(input, weight));
    torch::autograd::set_history(result, node);
    node->remember({input, weight});
  }
  return result;
}

Gradients autograd_backward(const Tensor& grad_output, const Tensor& input, const Tensor& weight) {
  if (is_differentiated(grad_output, input, weight))
    return composite_backward(grad_output, input, weight);
  at::AutoDispatchBelowADInplaceOrView below;
  return call_prelu_backward(grad_output, input, weight);
}

// --- autocast -----------------------------------------------------------------------------------

// In the lower precision, like torch's, so that input and weight agree.
template <c10::DispatchKey kKey, c10::DeviceType kDevice>
Tensor autocast_forward(const Tensor& input, const Tensor& weight) {
  c10::impl::ExcludeDispatchKeyGuard below(kKey);
  const auto dtype = at::autocast::get_autocast_dtype(kDevice);
  const auto cast = [dtype](const Tensor& tensor) {
    return at::autocast::cached_cast(dtype, tensor, kDevice);
  };
  return activations_ext::prelu(cast(input), cast(weight));
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(activations_ext, library) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  library.def("prelu(Tensor input, Tensor weight) -> Tensor", tags);
  library.def("prelu_backward(Tensor grad_output, Tensor input, Tensor weight) -> (Tensor, Tensor)",
              tags);
}

TORCH_LIBRARY_IMPL(activations_ext, CPU, library) {
  library.impl("prelu", &kernel_forward);
  library.impl("prelu_backward", &kernel_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, CUDA, library) {
  library.impl("prelu", &kernel_forward);
  library.impl("prelu_backward", &kernel_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, Meta, library) {
  library.impl("prelu", &meta_forward);
  library.impl("prelu_backward", &meta_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, CompositeExplicitAutograd, library) {
  library.impl("prelu", &no_forward);
  library.impl("prelu_backward", &no_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, Autograd, library) {
  library.impl("prelu", &autograd_forward);
  library.impl("prelu_backward", &autograd_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, AutocastCPU, library) {
  library.impl("prelu", &autocast_forward<c10::DispatchKey::AutocastCPU, at::kCPU>);
}

TORCH_LIBRARY_IMPL(activations_ext, AutocastCUDA, library) {
  library.impl("prelu", &autocast_forward<c10::DispatchKey::AutocastCUDA, at::kCUDA>);
}

TORCH_LIBRARY_IMPL(activations_ext, FuncTorchBatched, library) {
  library.impl("prelu", &composite);
  library.impl("prelu_backward", &composite_backward);
}

}  // namespace activations_ext
