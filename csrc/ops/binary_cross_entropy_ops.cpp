// The operator binary_cross_entropy_with_logits and its gradient. torch's operators compute it
// where there is no kernel.
#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Reduction.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/where.h>

#include <cmath>

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
  double focal_gamma;
  auto members() { return std::tie(input, target, weight, pos_weight, reduction, focal_gamma); }

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
  TORCH_CHECK_VALUE(of.focal_gamma >= 0 && std::isfinite(of.focal_gamma), kName,
                    "(): expected argument 'focal_gamma' to be a finite number from 0 on, but got ",
                    of.focal_gamma);
  check_operand("target", of.target, of.input);
  if (of.weight.has_value()) check_operand("weight", *of.weight, of.input);
  if (of.pos_weight.has_value()) check_operand("pos_weight", *of.pos_weight, of.input);
}

BinaryTensors checked(const BinaryArguments& of) {
  check(of);
  const auto expanded = [&](const MaybeTensor& weight) {
    return weight.has_value() ? weight->expand_as(of.input) : Tensor();
  };
  return {of.input, of.target, expanded(of.pos_weight), expanded(of.weight), of.focal_gamma};
}

// 16 bits as float32.
BinaryArguments wide(const BinaryArguments& of) {
  BinaryArguments result = of;
  for_each_tensor(result, [&](auto& tensor) {
    if (const Tensor given = as_tensor(tensor); given.defined())
      set_tensor(tensor, given.to(at::toOpMathType(given.scalar_type())));
  });
  return result;
}

// (1 − p_t)^γ of the focal loss and its derivative by the input; 0 where p_t is 1.
struct Focus {
  Tensor value, slope;
  explicit Focus(const BinaryArguments& of) {
    const Tensor p = of.input.sigmoid(), q = (-of.input).sigmoid();
    const Tensor rest = (1 - of.target) * p + of.target * q;
    const Tensor some = rest > 0, base = at::where(some, rest, 1);
    value = at::where(some, base.pow(of.focal_gamma), 0);
    slope = at::where(some, base.pow(of.focal_gamma - 1), 0) * of.focal_gamma *
            (1 - 2 * of.target) * p * q;
  }
};

Tensor weighted(const Tensor& numbers, const MaybeTensor& weight) {
  return weight.has_value() ? numbers * *weight : numbers;
}

// Without `weight`.
Tensor unfocused_losses(const BinaryArguments& of) {
  const auto minus_log_sigmoid = [](const Tensor& x) {
    return at::softplus(-x, /*beta=*/1, /*threshold=*/40);  // beyond it is −x to the last digit
  };
  return weighted(of.target, of.pos_weight) * minus_log_sigmoid(of.input) +
         (1 - of.target) * minus_log_sigmoid(-of.input);
}

struct BinaryCrossEntropyBackward {
  static constexpr const char* kSchema =
      "binary_cross_entropy_with_logits_backward(Tensor grad_output, Tensor input, Tensor target, "
      "Tensor? weight, Tensor? pos_weight, int reduction, float focal_gamma) -> Tensor";
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
    const auto& [grad_output, given] = arguments;
    const BinaryArguments of = wide(given);
    const Tensor positive = weighted(of.target, of.pos_weight);
    Tensor slope = (1 - of.target) * of.input.sigmoid() - positive * (-of.input).sigmoid();
    if (of.focal_gamma != 0) {
      const Focus focus(of);
      slope = slope * focus.value + unfocused_losses(of) * focus.slope;
    }
    const Tensor result = weighted(slope, of.weight) / of.count() * grad_output;
    return result.to(given.input.scalar_type());
  }
};

struct BinaryCrossEntropy {
  static constexpr const char* kSchema =
      "binary_cross_entropy_with_logits(Tensor input, Tensor target, Tensor? weight, "
      "Tensor? pos_weight, int reduction, float focal_gamma) -> Tensor";
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
    if (of.focal_gamma != 0) return batched(of);
    return at::binary_cross_entropy_with_logits(of.input, of.target, of.weight, of.pos_weight,
                                                of.reduction);
  }
  // The same of operators that vmap knows.
  static Tensor batched(const Arguments& given) {
    const BinaryArguments of = wide(given);
    Tensor losses = weighted(unfocused_losses(of), of.weight);
    if (of.focal_gamma != 0) losses = losses * Focus(of).value;
    if (of.reduction == at::Reduction::Mean) losses = losses.mean();
    if (of.reduction == at::Reduction::Sum) losses = losses.sum();
    return losses.to(given.input.scalar_type());
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
