// Maps each of torch's operators to the activation of ours that computes it.
#include <ATen/core/Tensor.h>
#include <ATen/ops/_prelu_kernel_backward_cpu_dispatch.h>
#include <ATen/ops/_prelu_kernel_cpu_dispatch.h>
#include <ATen/ops/elu_backward_cpu_dispatch.h>
#include <ATen/ops/elu_cpu_dispatch.h>
#include <ATen/ops/exp_cpu_dispatch.h>
#include <ATen/ops/gelu_backward_cpu_dispatch.h>
#include <ATen/ops/gelu_cpu_dispatch.h>
#include <ATen/ops/hardshrink_backward_cpu_dispatch.h>
#include <ATen/ops/hardshrink_cpu_dispatch.h>
#include <ATen/ops/hardsigmoid_backward_cpu_dispatch.h>
#include <ATen/ops/hardsigmoid_cpu_dispatch.h>
#include <ATen/ops/hardswish_backward_cpu_dispatch.h>
#include <ATen/ops/hardswish_cpu_dispatch.h>
#include <ATen/ops/hardtanh_backward_cpu_dispatch.h>
#include <ATen/ops/hardtanh_cpu_dispatch.h>
#include <ATen/ops/leaky_relu_backward_cpu_dispatch.h>
#include <ATen/ops/leaky_relu_cpu_dispatch.h>
#include <ATen/ops/mish_backward_cpu_dispatch.h>
#include <ATen/ops/mish_cpu_dispatch.h>
#include <ATen/ops/relu_cpu_dispatch.h>
#include <ATen/ops/sigmoid_backward_cpu_dispatch.h>
#include <ATen/ops/sigmoid_cpu_dispatch.h>
#include <ATen/ops/silu_backward_cpu_dispatch.h>
#include <ATen/ops/silu_cpu_dispatch.h>
#include <ATen/ops/softplus_backward_cpu_dispatch.h>
#include <ATen/ops/softplus_cpu_dispatch.h>
#include <ATen/ops/softshrink_backward_cpu_dispatch.h>
#include <ATen/ops/softshrink_cpu_dispatch.h>
#include <ATen/ops/tanh_backward_cpu_dispatch.h>
#include <ATen/ops/tanh_cpu_dispatch.h>
#include <ATen/ops/threshold_backward_cpu_dispatch.h>
#include <ATen/ops/threshold_cpu_dispatch.h>

#include "ours.h"
#include "replace.h"

namespace activations_ext::aten {
namespace {

namespace torchs = at::cpu;

// --- whose backward has arguments in an order of its own ----------------------------------------

Tensor elu_backward(const Tensor& grad_output, const at::Scalar& alpha, const at::Scalar& scale,
                    const at::Scalar& input_scale, bool is_result, const Tensor& saved) {
  Tensor result;
  const auto run = [&](const AnyActivation& activation) {
    result = launch_on(saved).pointwise(activation.backward(is_result), grad_output, saved);
  };
  const bool raises = is_result && alpha.toDouble() < 0;  // torch's error
  if (!raises && takes(grad_output, saved))
    AsELU::choose(run, saved.scalar_type(), alpha, scale, input_scale);
  if (result.defined()) return result;
  return torchs::elu_backward(grad_output, alpha, scale, input_scale, is_result, saved);
}

Tensor leaky_relu_backward(const Tensor& grad_output, const Tensor& saved,
                           const at::Scalar& negative_slope, bool is_result) {
  Tensor result;
  const auto run = [&](const AnyActivation& activation) {
    result = launch_on(saved).pointwise(activation.backward(is_result), grad_output, saved);
  };
  const bool raises = is_result && negative_slope.toDouble() < 0;
  if (!raises && takes(grad_output, saved))
    As<LeakyReLU>::choose(run, saved.scalar_type(), negative_slope);
  if (result.defined()) return result;
  return torchs::leaky_relu_backward(grad_output, saved, negative_slope, is_result);
}

// --- prelu, whose weight comes with the channels in their place ---------------------------------

bool takes_prelu(const Tensor& input, const Tensor& weight) {
  if (!takes(input) || !takes(weight) || input.scalar_type() != weight.scalar_type() ||
      input.numel() == 0)
    return false;
  if (weight.numel() == 1) return true;
  if (weight.dim() != input.dim() || input.dim() < 2) return false;
  return weight.size(1) == input.size(1) && weight.numel() == weight.size(1);
}

Tensor prelu_kernel(const Tensor& input, const Tensor& weight) {
  if (!takes_prelu(input, weight)) return torchs::_prelu_kernel(input, weight);
  return launch_on(input).prelu(input, weight.reshape({-1}));
}

// Autograd takes the weight's gradient in its own shape as well as in the input's.
std::tuple<Tensor, Tensor> prelu_kernel_backward(const Tensor& grad_output, const Tensor& input,
                                                 const Tensor& weight) {
  if (!takes_prelu(input, weight) || !takes(grad_output, input))
    return torchs::_prelu_kernel_backward(grad_output, input, weight);
  const auto [grad_input, grad_weight] = launch_on(input).prelu_backward(
      grad_output, input, weight.reshape({-1}), /*overwrite=*/false);
  return {grad_input, grad_weight.reshape(weight.sizes())};
}

// --- the list -----------------------------------------------------------------------------------

template <class Choose, auto kFunction, auto kOut>
std::vector<Operator> forms(const char* name, const char* out) {
  return {{name, &implement<Forward<Choose, kFunction>>},
          {out, &implement<Out<Choose, kOut, kFunction>>}};
}
template <class Choose, auto kInPlace>
Operator in_place(const char* name) {
  return {name, &implement<InPlace<Choose, kInPlace>>};
}
template <class Choose, bool kOfResult, auto kBackward>
Operator backward(const char* name) {
  return {name, &implement<Backward<Choose, kOfResult, kBackward>>};
}

std::vector<Operator> operator+(std::vector<Operator> some, const Operator& another) {
  some.push_back(another);
  return some;
}

constexpr bool kInput = false, kResult = true;  // what backward reads

}  // namespace

const std::vector<Group>& activations() {
  static const std::vector<Group> groups = {
      {"relu",
       {{"relu", &implement<Forward<As<ReLU>, &torchs::relu>>},
        {"relu_", &implement<InPlace<As<ReLU>, &torchs::relu_>>},
        backward<AsReLU, kResult, &torchs::threshold_backward>("threshold_backward")}},
      {"hardtanh",
       forms<As<Hardtanh>, &torchs::hardtanh, &torchs::hardtanh_outf>("hardtanh", "hardtanh.out") +
           in_place<As<Hardtanh>, &torchs::hardtanh_>("hardtanh_") +
           backward<As<Hardtanh>, kInput, &torchs::hardtanh_backward>("hardtanh_backward")},
      {"leaky_relu",
       forms<As<LeakyReLU>, &torchs::leaky_relu, &torchs::leaky_relu_outf>("leaky_relu",
                                                                           "leaky_relu.out") +
           in_place<As<LeakyReLU>, &torchs::leaky_relu_>("leaky_relu_") +
           Operator{"leaky_relu_backward", &implement_function<&aten::leaky_relu_backward>}},
      {"threshold", forms<As<Threshold>, &torchs::threshold, &torchs::threshold_outf>(
                        "threshold", "threshold.out") +
                        in_place<As<Threshold>, &torchs::threshold_>("threshold_")},
      {"elu", forms<AsELU, &torchs::elu, &torchs::elu_outf>("elu", "elu.out") +
                  in_place<AsELU, &torchs::elu_>("elu_") +
                  Operator{"elu_backward", &implement_function<&aten::elu_backward>}},
      {"sigmoid",
       forms<As<Sigmoid>, &torchs::sigmoid, &torchs::sigmoid_outf>("sigmoid", "sigmoid.out") +
           in_place<As<Sigmoid>, &torchs::sigmoid_>("sigmoid_") +
           backward<As<Sigmoid>, kResult, &torchs::sigmoid_backward>("sigmoid_backward")},
      {"tanh", forms<As<Tanh>, &torchs::tanh, &torchs::tanh_outf>("tanh", "tanh.out") +
                   in_place<As<Tanh>, &torchs::tanh_>("tanh_") +
                   backward<As<Tanh>, kResult, &torchs::tanh_backward>("tanh_backward")},
      {"hardsigmoid", forms<As<Hardsigmoid>, &torchs::hardsigmoid, &torchs::hardsigmoid_outf>(
                          "hardsigmoid", "hardsigmoid.out") +
                          in_place<As<Hardsigmoid>, &torchs::hardsigmoid_>("hardsigmoid_") +
                          backward<As<Hardsigmoid>, kInput, &torchs::hardsigmoid_backward>(
                              "hardsigmoid_backward")},
      {"softplus",
       forms<As<Softplus>, &torchs::softplus, &torchs::softplus_outf>("softplus", "softplus.out") +
           backward<As<Softplus>, kInput, &torchs::softplus_backward>("softplus_backward")},
      {"gelu", forms<AsGELU, &torchs::gelu, &torchs::gelu_outf>("gelu", "gelu.out") +
                   in_place<AsGELU, &torchs::gelu_>("gelu_") +
                   backward<AsGELU, kInput, &torchs::gelu_backward>("gelu_backward")},
      {"silu", forms<As<SiLU>, &torchs::silu, &torchs::silu_outf>("silu", "silu.out") +
                   in_place<As<SiLU>, &torchs::silu_>("silu_") +
                   backward<As<SiLU>, kInput, &torchs::silu_backward>("silu_backward")},
      {"mish", forms<As<Mish>, &torchs::mish, &torchs::mish_outf>("mish", "mish.out") +
                   in_place<As<Mish>, &torchs::mish_>("mish_") +
                   backward<As<Mish>, kInput, &torchs::mish_backward>("mish_backward")},
      {"hardswish",
       forms<As<Hardswish>, &torchs::hardswish, &torchs::hardswish_outf>("hardswish",
                                                                         "hardswish.out") +
           in_place<As<Hardswish>, &torchs::hardswish_>("hardswish_") +
           backward<As<Hardswish>, kInput, &torchs::hardswish_backward>("hardswish_backward")},
      {"softshrink",
       forms<As<Softshrink>, &torchs::softshrink, &torchs::softshrink_outf>("softshrink",
                                                                            "softshrink.out") +
           backward<As<Softshrink>, kInput, &torchs::softshrink_backward>("softshrink_backward")},
      {"hardshrink",
       forms<As<Hardshrink>, &torchs::hardshrink, &torchs::hardshrink_outf>("hardshrink",
                                                                            "hardshrink.out") +
           backward<As<Hardshrink>, kInput, &torchs::hardshrink_backward>("hardshrink_backward")},
      {"exp", forms<As<Exp>, &torchs::exp, &torchs::exp_outf>("exp", "exp.out") +
                  in_place<As<Exp>, &torchs::exp_>("exp_")},
      {"prelu",
       {{"_prelu_kernel", &implement_function<&prelu_kernel>},
        {"_prelu_kernel_backward", &implement_function<&prelu_kernel_backward>}}},
  };
  return groups;
}

}  // namespace activations_ext::aten
