// The operator binary_cross_entropy_with_logits: schema, CPU and Meta kernels, Autograd. Where the
// kernels do not reach (another device, vmap, forward mode, second derivatives, a target or weights
// that require a gradient) torch's operators compute it.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "../autograd/node.h"
#include "../checks.h"
#include "../launch.h"
#include "find_operator.h"

namespace activations_ext {
namespace {

using at::Tensor;

Tensor call(const Tensor& input, const Tensor& target, const MaybeTensor& weight,
            const MaybeTensor& pos_weight, int64_t reduction) {
  static const auto op = find_operator<decltype(call)>("binary_cross_entropy_with_logits");
  return op.call(input, target, weight, pos_weight, reduction);
}

Tensor call_backward(const Tensor& grad_output, const Tensor& input, const Tensor& target,
                     const MaybeTensor& weight, const MaybeTensor& pos_weight, int64_t reduction) {
  static const auto op =
      find_operator<decltype(call_backward)>("binary_cross_entropy_with_logits_backward");
  return op.call(grad_output, input, target, weight, pos_weight, reduction);
}

Tensor composite(const Tensor& input, const Tensor& target, const MaybeTensor& weight,
                 const MaybeTensor& pos_weight, int64_t reduction) {
  return at::binary_cross_entropy_with_logits(input, target, weight, pos_weight, reduction);
}

// The same of operators that vmap knows.
Tensor batched_forward(const Tensor& input, const Tensor& target, const MaybeTensor& weight,
                       const MaybeTensor& pos_weight, int64_t reduction) {
  const auto minus_log_sigmoid = [](const Tensor& x) {
    return at::softplus(-x, /*beta=*/1, /*threshold=*/40);  // beyond it is −x to the last digit
  };
  const Tensor positive = pos_weight.has_value() ? *pos_weight * target : target;
  Tensor losses = positive * minus_log_sigmoid(input) + (1 - target) * minus_log_sigmoid(-input);
  if (weight.has_value()) losses = losses * *weight;
  if (reduction == at::Reduction::None) return losses;
  return reduction == at::Reduction::Mean ? losses.mean() : losses.sum();
}

Tensor composite_backward(const Tensor& grad_output, const Tensor& input, const Tensor& target,
                          const MaybeTensor& weight, const MaybeTensor& pos_weight,
                          int64_t reduction) {
  const Tensor positive = pos_weight.has_value() ? *pos_weight * target : target;
  Tensor grad = (1 - target) * input.sigmoid() - positive * (-input).sigmoid();
  if (weight.has_value()) grad = grad * *weight;
  if (reduction == at::Reduction::Mean) grad = grad / input.sym_numel();
  return grad * grad_output;
}

constexpr const char* kName = "binary_cross_entropy_with_logits";

void check_operand(const char* argument, const Tensor& tensor, const Tensor& input) {
  TORCH_CHECK(tensor.scalar_type() == input.scalar_type(), kName, "(): expected argument '",
              argument, "' to have the dtype of 'input', ", input.scalar_type(), ", but got ",
              tensor.scalar_type());
  check_same_device(kName, argument, tensor, "input", input);
}

void check(const Tensor& input, const Tensor& target, const MaybeTensor& weight,
           const MaybeTensor& pos_weight) {
  check_floating_point(kName, "input", input);
  TORCH_CHECK(target.sym_sizes() == input.sym_sizes(), kName,
              "(): expected argument 'target' to have the shape of 'input', ", input.sym_sizes(),
              ", but got ", target.sym_sizes());
  for (const auto& [name, tensor] :
       {std::pair{"target", MaybeTensor(target)}, {"weight", weight}, {"pos_weight", pos_weight}}) {
    if (tensor.has_value()) check_operand(name, *tensor, input);
  }
}

BinaryOperands operands(const Tensor& input, const Tensor& target, const MaybeTensor& weight,
                        const MaybeTensor& pos_weight) {
  const auto or_one = [&](const MaybeTensor& tensor) {
    return (tensor.has_value() ? *tensor : at::ones({}, input.options())).expand_as(input);
  };
  return {input, target, or_one(pos_weight), or_one(weight)};
}

Tensor cpu_forward(const Tensor& input, const Tensor& target, const MaybeTensor& weight,
                   const MaybeTensor& pos_weight, int64_t reduction) {
  check(input, target, weight, pos_weight);
  const auto of = operands(input, target, weight, pos_weight);
  if (reduction == at::Reduction::None) return launch_on(input).binary_losses(of);
  double loss = launch_on(input).binary_sum(of);
  if (reduction == at::Reduction::Mean) loss /= double(input.numel());
  return at::full({}, loss, input.options());
}

Tensor cpu_backward(const Tensor& grad_output, const Tensor& input, const Tensor& target,
                    const MaybeTensor& weight, const MaybeTensor& pos_weight, int64_t reduction) {
  check(input, target, weight, pos_weight);
  check_operand("grad_output", grad_output, input);
  const double scale = reduction == at::Reduction::Mean ? 1.0 / double(input.numel()) : 1.0;
  return launch_on(input).binary_gradient(grad_output.expand_as(input), scale,
                                          operands(input, target, weight, pos_weight));
}

Tensor meta_forward(const Tensor& input, const Tensor& target, const MaybeTensor& weight,
                    const MaybeTensor& pos_weight, int64_t reduction) {
  check(input, target, weight, pos_weight);
  return reduction == at::Reduction::None ? at::empty_like(target) : at::empty({}, input.options());
}

Tensor meta_backward(const Tensor& grad_output, const Tensor& input, const Tensor& target,
                     const MaybeTensor& weight, const MaybeTensor& pos_weight, int64_t) {
  check(input, target, weight, pos_weight);
  check_operand("grad_output", grad_output, input);
  return at::empty_like(input);
}

struct BinaryCrossEntropyFunction : torch::autograd::Function<BinaryCrossEntropyFunction> {
  static constexpr bool is_traceable = true;

  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& input,
                        const Tensor& target, const MaybeTensor& weight,
                        const MaybeTensor& pos_weight, int64_t reduction) {
    at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({input, target, or_undefined(weight), or_undefined(pos_weight)});
    context->saved_data["reduction"] = reduction;
    context->set_materialize_grads(false);
    return call(input, target, weight, pos_weight, reduction);
  }
  static variable_list backward(torch::autograd::AutogradContext* context, variable_list grads) {
    variable_list result(5);
    if (!grads[0].defined()) return result;
    const variable_list saved = context->get_saved_variables();
    result[0] = call_backward(grads[0], saved[0], saved[1], or_none(saved[2]), or_none(saved[3]),
                              context->saved_data["reduction"].toInt());
    return result;
  }
};

const bool named =
    name_function<BinaryCrossEntropyFunction>("BinaryCrossEntropyWithLogitsBackward");

Tensor autograd_forward(const Tensor& input, const Tensor& target, const MaybeTensor& weight,
                        const MaybeTensor& pos_weight, int64_t reduction) {
  const Tensor w = or_undefined(weight), p = or_undefined(pos_weight);
  if (is_transformed() || torch::autograd::isFwGradDefined(input) ||
      is_differentiated(target, w, p))
    return composite(input, target, weight, pos_weight, reduction);
  if (torch::autograd::compute_requires_grad(input))
    return BinaryCrossEntropyFunction::apply(input, target, weight, pos_weight, reduction);
  at::AutoDispatchBelowADInplaceOrView below;
  return call(input, target, weight, pos_weight, reduction);
}

Tensor autograd_backward(const Tensor& grad_output, const Tensor& input, const Tensor& target,
                         const MaybeTensor& weight, const MaybeTensor& pos_weight,
                         int64_t reduction) {
  if (is_transformed() || is_differentiated(grad_output, input))
    return composite_backward(grad_output, input, target, weight, pos_weight, reduction);
  at::AutoDispatchBelowADInplaceOrView below;
  return call_backward(grad_output, input, target, weight, pos_weight, reduction);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(activations_ext, library) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  library.def(
      "binary_cross_entropy_with_logits(Tensor input, Tensor target, Tensor? weight, "
      "Tensor? pos_weight, int reduction) -> Tensor",
      tags);
  library.def(
      "binary_cross_entropy_with_logits_backward(Tensor grad_output, Tensor input, Tensor target, "
      "Tensor? weight, Tensor? pos_weight, int reduction) -> Tensor",
      tags);
}

TORCH_LIBRARY_IMPL(activations_ext, CPU, library) {
  library.impl("binary_cross_entropy_with_logits", &cpu_forward);
  library.impl("binary_cross_entropy_with_logits_backward", &cpu_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, Meta, library) {
  library.impl("binary_cross_entropy_with_logits", &meta_forward);
  library.impl("binary_cross_entropy_with_logits_backward", &meta_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, CompositeExplicitAutograd, library) {
  library.impl("binary_cross_entropy_with_logits", &composite);
  library.impl("binary_cross_entropy_with_logits_backward", &composite_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, Autograd, library) {
  library.impl("binary_cross_entropy_with_logits", &autograd_forward);
  library.impl("binary_cross_entropy_with_logits_backward", &autograd_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, FuncTorchBatched, library) {
  library.impl("binary_cross_entropy_with_logits", &batched_forward);
  library.impl("binary_cross_entropy_with_logits_backward", &composite_backward);
}

}  // namespace activations_ext
