// The operator binary_cross_entropy_with_logits and its gradient. torch's operators compute it
// where there is no kernel.
#include <ATen/TensorOperators.h>
#include <ATen/core/Reduction.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/softplus.h>

#include "../device/checks.h"
#include "../device/launchers.h"
#include "operator.h"

namespace activations_ext {
namespace {

using at::Tensor;

constexpr const char* kName = "binary_cross_entropy_with_logits";

struct BinaryArguments {
  Tensor input, target;
  MaybeTensor weight, pos_weight;
  int64_t reduction;
  auto members() { return std::tie(input, target, weight, pos_weight, reduction); }

  // The divisor of the sum.
  c10::SymInt count() const {
    return reduction == at::Reduction::Mean ? input.sym_numel() : c10::SymInt(1);
  }
};

void check_operand(const char* argument, const Tensor& tensor, const Tensor& input) {
  TORCH_CHECK(tensor.scalar_type() == input.scalar_type(), kName, "(): expected argument '",
              argument, "' to have the dtype of 'input', ", input.scalar_type(), ", but got ",
              tensor.scalar_type());
  check_same_device(kName, argument, tensor, "input", input);
}

void check(const BinaryArguments& of) {
  check_floating_point(kName, "input", of.input);
  TORCH_CHECK(of.target.sym_sizes() == of.input.sym_sizes(), kName,
              "(): expected argument 'target' to have the shape of 'input', ", of.input.sym_sizes(),
              ", but got ", of.target.sym_sizes());
  check_operand("target", of.target, of.input);
  if (of.weight.has_value()) check_operand("weight", *of.weight, of.input);
  if (of.pos_weight.has_value()) check_operand("pos_weight", *of.pos_weight, of.input);
}

BinaryTensors checked(const BinaryArguments& of) {
  check(of);
  const auto expanded = [&](const MaybeTensor& weight) {
    return weight.has_value() ? weight->expand_as(of.input) : Tensor();
  };
  return {of.input, of.target, expanded(of.pos_weight), expanded(of.weight)};
}

Tensor weighted(const Tensor& numbers, const MaybeTensor& weight) {
  return weight.has_value() ? numbers * *weight : numbers;
}

struct BinaryCrossEntropyBackward {
  static constexpr const char* kSchema =
      "binary_cross_entropy_with_logits_backward(Tensor grad_output, Tensor input, Tensor target, "
      "Tensor? weight, Tensor? pos_weight, int reduction) -> Tensor";
  struct Arguments {
    Tensor grad_output;
    BinaryArguments of;
    auto members() { return std::tuple_cat(std::tie(grad_output), of.members()); }
  };

  static Tensor kernel(const Arguments& arguments) {
    const auto& [grad_output, of] = arguments;
    const BinaryTensors tensors = checked(of);
    check_operand("grad_output", grad_output, of.input);
    if (!has_launchers(of.input.device())) return formula(arguments);
    return launch_on(of.input).binary_backward(grad_output.expand_as(of.input),
                                               1.0 / double(of.count().expect_int()), tensors);
  }
  static Tensor shape(const Arguments& arguments) {
    check(arguments.of);
    check_operand("grad_output", arguments.grad_output, arguments.of.input);
    return at::empty_like(arguments.of.input);
  }
  static Tensor formula(const Arguments& arguments) {
    const auto& [grad_output, of] = arguments;
    const Tensor positive = weighted(of.target, of.pos_weight);
    const Tensor slope = (1 - of.target) * of.input.sigmoid() - positive * (-of.input).sigmoid();
    return weighted(slope, of.weight) / of.count() * grad_output;
  }
};

struct BinaryCrossEntropy {
  static constexpr const char* kSchema =
      "binary_cross_entropy_with_logits(Tensor input, Tensor target, Tensor? weight, "
      "Tensor? pos_weight, int reduction) -> Tensor";
  using Arguments = BinaryArguments;

  static Tensor kernel(const Arguments& of) {
    const BinaryTensors tensors = checked(of);
    if (!has_launchers(of.input.device())) return formula(of);  // a GPU without compiled kernels
    const Launchers& launchers = launch_on(of.input);
    if (of.reduction == at::Reduction::None) return launchers.binary_losses(tensors);
    return launchers.binary_sum(tensors, double(of.count().expect_int()));
  }
  static Tensor shape(const Arguments& of) {
    check(of);
    return of.reduction == at::Reduction::None ? at::empty_like(of.target)
                                               : at::empty({}, of.input.options());
  }
  static Tensor formula(const Arguments& of) {
    return at::binary_cross_entropy_with_logits(of.input, of.target, of.weight, of.pos_weight,
                                                of.reduction);
  }
  // The same of operators that vmap knows.
  static Tensor batched(const Arguments& of) {
    const auto minus_log_sigmoid = [](const Tensor& x) {
      return at::softplus(-x, /*beta=*/1, /*threshold=*/40);  // beyond it is −x to the last digit
    };
    const Tensor positive = weighted(of.target, of.pos_weight) * minus_log_sigmoid(of.input);
    const Tensor negative = (1 - of.target) * minus_log_sigmoid(-of.input);
    const Tensor losses = weighted(positive + negative, of.weight);
    if (of.reduction == at::Reduction::None) return losses;
    return of.reduction == at::Reduction::Mean ? losses.mean() : losses.sum();
  }

  // Only the input has a gradient of its own.
  static bool by_formula(const Arguments& of) {
    return torch::autograd::compute_requires_grad(of.target, or_undefined(of.weight),
                                                  or_undefined(of.pos_weight));
  }
  static std::string title() { return "BinaryCrossEntropyWithLogitsBackward"; }
  static variable_list gradients(variable_list grads, const Arguments& of, const Needed<4>&) {
    return {call<BinaryCrossEntropyBackward>({grads[0], of}), {}, {}, {}};
  }
};

const Operators<BinaryCrossEntropy, BinaryCrossEntropyBackward> registered;

}  // namespace
}  // namespace activations_ext
