#include "prelu_ops.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/sum_to_size.h>

#include "../activations/prelu.h"
#include "../autograd/reuse.h"
#include "../autograd/symbolic.h"
#include "../device/checks.h"
#include "../device/launchers.h"
#include "operator.h"

namespace activations_ext {
namespace {

using at::Tensor;

struct PReLUArguments {
  Tensor input, weight;
  auto members() { return std::tie(input, weight); }
};
using Gradients = std::tuple<Tensor, Tensor>;  // of the input and of the weight

// The weight with its channels at the input's dimension 1.
Tensor broadcastable(const Tensor& weight, const Tensor& input) {
  if (input.dim() < 2) return weight.reshape({});
  c10::SymDimVector shape(input.dim(), 1);
  shape[1] = -1;
  return weight.reshape_symint(shape);
}

struct PReLUBackward {
  static constexpr const char* kSchema =
      "prelu_backward(Tensor grad_output, Tensor input, Tensor weight) -> (Tensor, Tensor)";
  struct Arguments {
    Tensor grad_output;
    PReLUArguments of;
    auto members() { return std::tuple_cat(std::tie(grad_output), of.members()); }
  };

  static Gradients kernel(const Arguments& arguments) {
    check(arguments);
    const auto& [grad_output, of] = arguments;
    return launch_on(of.input).prelu_backward(grad_output, of.input, of.weight,
                                              /*overwrite=*/false);
  }
  static Gradients shape(const Arguments& arguments) {
    check(arguments);
    const auto& [input, weight] = arguments.of;
    return {at::empty_like(input), at::empty_like(weight, at::MemoryFormat::Contiguous)};
  }
  static Gradients formula(const Arguments& arguments) {
    const auto& [grad_output, of] = arguments;
    const Tensor wide = broadcastable(of.weight, of.input);
    const Tensor shares = PReLU::grad_weight<Symbolic>(grad_output, of.input).tensor;
    return {PReLU::grad_input<Symbolic>(grad_output, of.input, wide).tensor,
            shares.sum_to_size_symint(wide.sym_sizes()).reshape_symint(of.weight.sym_sizes())};
  }
  static Gradients elsewhere(const Arguments& arguments) {
    fail_no_kernel("prelu", "grad_output", arguments.grad_output);
  }

 private:
  static void check(const Arguments& arguments) {
    check_prelu_weight(arguments.of.input, arguments.of.weight);
    check_same("prelu", arguments.grad_output, arguments.of.input);
  }
};

struct PReLUForward {
  static constexpr const char* kSchema = "prelu(Tensor input, Tensor weight) -> Tensor";
  // Like torch's, so that input and weight agree.
  static constexpr Autocast kAutocast = Autocast::kLower;
  using Arguments = PReLUArguments;

  static Tensor kernel(const Arguments& of) {
    check_prelu_weight(of.input, of.weight);
    return launch_on(of.input).prelu(of.input, of.weight);
  }
  static Tensor shape(const Arguments& of) {
    check_prelu_weight(of.input, of.weight);
    return at::empty_like(of.input);
  }
  static Tensor formula(const Arguments& of) {
    check_prelu_weight(of.input, of.weight);
    return PReLU::value<Symbolic>(of.input, broadcastable(of.weight, of.input)).tensor;
  }
  static Tensor elsewhere(const Arguments& of) { fail_no_kernel("prelu", "input", of.input); }

  static std::string title() { return "PreluBackward"; }
  static variable_list gradients(variable_list grads, const Arguments& of,
                                 const Needed<2>& needed) {
    const Tensor grad_output = std::move(grads[0]);
    const auto& [input, weight] = of;
    Tensor grad_input, grad_weight;
    if (may_overwrite(grad_output, input) && is_plain(weight)) {
      check_prelu_weight(input, weight);
      std::tie(grad_input, grad_weight) =
          launch_on(input).prelu_backward(grad_output, input, weight, /*overwrite=*/true);
    } else {
      std::tie(grad_input, grad_weight) = call<PReLUBackward>({grad_output, of});
    }
    return {needed[0] ? grad_input : Tensor(), needed[1] ? grad_weight : Tensor()};
  }
};

const Operators<PReLUForward, PReLUBackward> registered;

}  // namespace

Tensor prelu(const Tensor& input, const Tensor& weight) {
  return call_directly<PReLUForward>({input, weight});
}

}  // namespace activations_ext
