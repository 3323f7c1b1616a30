// The operator mixture_nll: schema, device and Meta kernels, Autograd. Where the kernels do not
// reach (another device, vmap, forward mode, second derivatives) the formula runs on torch's
// operators. See losses/mixture.h.
#include "mixture_ops.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "../autograd/node.h"
#include "../checks.h"
#include "../launch.h"
#include "../losses/mixture.h"
#include "find_operator.h"

namespace activations_ext {
namespace {

using at::Tensor;
using Gradients = std::tuple<Tensor, Tensor, Tensor>;  // of logits, mean and scale

Tensor call(const Tensor& logits, const Tensor& mean, const Tensor& scale, const Tensor& target,
            int64_t scale_by, double floor) {
  static const auto op = find_operator<decltype(call)>("mixture_nll");
  return op.call(logits, mean, scale, target, scale_by, floor);
}

Gradients call_backward(const Tensor& grad_nll, const Tensor& logits, const Tensor& mean,
                        const Tensor& scale, const Tensor& target, int64_t scale_by, double floor) {
  static const auto op = find_operator<decltype(call_backward)>("mixture_nll_backward");
  return op.call(grad_nll, logits, mean, scale, target, scale_by, floor);
}

// --- the formula on torch's operators -----------------------------------------------------------

struct Formula {
  Tensor logits, z, sigma, log_slope, joint;

  Formula(const Tensor& raw_logits, const Tensor& mean, const Tensor& scale, const Tensor& target,
          int64_t scale_by, double floor) {
    const auto dtype = at::toOpMathType(mean.scalar_type());
    logits = raw_logits.to(dtype);
    const ScaleLimits limits = scale_limits(dtype == at::kDouble);
    const Tensor s = scale.to(dtype);
    Tensor value = s, slope = at::ones_like(s);
    switch (ScaleBy(scale_by)) {
      case ScaleBy::kExp:
        value = slope = s.clamp_max(limits.log_largest).exp();
        break;
      case ScaleBy::kSoftplus:
        value = at::softplus(s, /*beta=*/1, /*threshold=*/40);  // beyond it is s to the last digit
        slope = at::sigmoid(s);
        break;
      case ScaleBy::kElu:
        value = at::where(s > 0, s + 1, s.clamp_max(0).exp());  // elu(s) + 1 has lost its digits
        slope = at::where(s > 0, slope, value);
        break;
      case ScaleBy::kIdentity:
        break;
    }
    sigma = (value + floor).clamp(limits.least, limits.largest);
    log_slope = slope / sigma;
    z = (target.to(dtype).unsqueeze(-2) - mean.to(dtype)) / sigma;
    joint = logits + (-0.5 * z * z - sigma.log()).sum(-1);
  }
};

Tensor composite(const Tensor& logits, const Tensor& mean, const Tensor& scale,
                 const Tensor& target, int64_t scale_by, double floor) {
  const Formula of(logits, mean, scale, target, scale_by, floor);
  const Tensor weights = of.logits.logsumexp(-1), all = of.joint.logsumexp(-1);
  return weights - all + normalizer(mean.size(-1));
}

Gradients composite_backward(const Tensor& grad_nll, const Tensor& logits, const Tensor& mean,
                             const Tensor& scale, const Tensor& target, int64_t scale_by,
                             double floor) {
  const Formula of(logits, mean, scale, target, scale_by, floor);
  const Tensor grad = grad_nll.unsqueeze(-1);
  const Tensor part = grad * of.joint.softmax(-1);
  const Tensor grad_logits = grad * of.logits.softmax(-1) - part;
  const Tensor each = part.unsqueeze(-1);
  const Tensor none = at::zeros({}, each.options());
  return {
      grad_logits.to(logits.scalar_type()),
      at::where(each == 0, none, -each * of.z / of.sigma).to(mean.scalar_type()),
      at::where(each == 0, none, each * (1 - of.z * of.z) * of.log_slope).to(scale.scalar_type())};
}

// --- devices and Meta ---------------------------------------------------------------------------

void check(const Tensor& logits, const Tensor& mean, const Tensor& scale, const Tensor& target,
           int64_t scale_by) {
  check_floating_point("mixture_nll", "mean", mean);
  TORCH_CHECK(mean.dim() == 3 && mean.sym_size(1) > 0 && mean.sym_size(2) > 0,
              "mixture_nll(): expected argument 'mean' to have the shape (N, components, "
              "dimensions), the last two not 0, but got ",
              mean.sym_sizes());
  TORCH_CHECK_VALUE(0 <= scale_by && scale_by < kScales,
                    "mixture_nll(): expected argument 'scale_by' to be from 0 to ", kScales - 1,
                    ", but got ", scale_by);
  const auto has = [&](const char* name, const Tensor& tensor, c10::SymIntArrayRef shape) {
    TORCH_CHECK(tensor.scalar_type() == mean.scalar_type() && tensor.sym_sizes() == shape,
                "mixture_nll(): expected argument '", name, "' to have the shape ", shape,
                " and the dtype of 'mean', ", mean.scalar_type(), ", but got ", tensor.sym_sizes(),
                " and ", tensor.scalar_type());
    check_same_device("mixture_nll", name, tensor, "mean", mean);
  };
  const c10::SymIntArrayRef sizes = mean.sym_sizes();
  has("logits", logits, sizes.slice(0, 2));
  has("scale", scale, sizes);
  has("target", target, c10::SymDimVector{sizes[0], sizes[2]});
}

Tensor kernel_forward(const Tensor& logits, const Tensor& mean, const Tensor& scale,
                      const Tensor& target, int64_t scale_by, double floor) {
  check(logits, mean, scale, target, scale_by);
  return launch_on(mean).mixture_nll({logits, mean, scale, target, ScaleBy(scale_by), floor});
}

void check_backward(const Tensor& grad_nll, const Tensor& mean) {
  TORCH_CHECK(grad_nll.dim() == 1 && grad_nll.sym_size(0) == mean.sym_size(0) &&
                  grad_nll.scalar_type() == at::toOpMathType(mean.scalar_type()),
              "mixture_nll_backward(): expected argument 'grad_nll' to have ", mean.sym_size(0),
              " numbers of ", at::toOpMathType(mean.scalar_type()), ", but got shape ",
              grad_nll.sym_sizes(), " of ", grad_nll.scalar_type());
  check_same_device("mixture_nll_backward", "grad_nll", grad_nll, "mean", mean);
}

Gradients kernel_backward(const Tensor& grad_nll, const Tensor& logits, const Tensor& mean,
                          const Tensor& scale, const Tensor& target, int64_t scale_by,
                          double floor) {
  check(logits, mean, scale, target, scale_by);
  check_backward(grad_nll, mean);
  const auto gradient = launch_on(mean).mixture_gradient(
      grad_nll, {logits, mean, scale, target, ScaleBy(scale_by), floor});
  return {gradient.logits, gradient.mean, gradient.scale};
}

Tensor meta_forward(const Tensor& logits, const Tensor& mean, const Tensor& scale,
                    const Tensor& target, int64_t scale_by, double) {
  check(logits, mean, scale, target, scale_by);
  return at::empty_symint({mean.sym_size(0)},
                          mean.options().dtype(at::toOpMathType(mean.scalar_type())));
}

Gradients meta_backward(const Tensor& grad_nll, const Tensor& logits, const Tensor& mean,
                        const Tensor& scale, const Tensor& target, int64_t scale_by, double) {
  check(logits, mean, scale, target, scale_by);
  check_backward(grad_nll, mean);
  const auto contiguous = at::MemoryFormat::Contiguous;
  return {at::empty_like(logits, contiguous), at::empty_like(mean, contiguous),
          at::empty_like(scale, contiguous)};
}

// --- Autograd -----------------------------------------------------------------------------------

struct MixtureFunction : torch::autograd::Function<MixtureFunction> {
  static constexpr bool is_traceable = true;

  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& logits,
                        const Tensor& mean, const Tensor& scale, const Tensor& target,
                        int64_t scale_by, double floor) {
    at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({logits, mean, scale, target});
    context->saved_data["scale_by"] = scale_by;
    context->saved_data["floor"] = floor;
    context->set_materialize_grads(false);
    return call(logits, mean, scale, target, scale_by, floor);
  }

  static variable_list backward(torch::autograd::AutogradContext* context, variable_list grads) {
    if (!grads[0].defined()) return variable_list(6);
    const variable_list saved = context->get_saved_variables();
    auto [logits, mean, scale] = call_backward(grads[0], saved[0], saved[1], saved[2], saved[3],
                                               context->saved_data["scale_by"].toInt(),
                                               context->saved_data["floor"].toDouble());
    Tensor target;
    if (context->needs_input_grad(3)) {
      // A target that moves is as good as all means that move the other way.
      const auto dtype = at::toOpMathType(mean.scalar_type());
      target = -at::sum(mean, {1}, /*keepdim=*/false, dtype).to(saved[3].scalar_type());
    }
    return {logits, mean, scale, target, {}, {}};
  }
};

const bool named = name_function<MixtureFunction>("GaussianMixtureNllLossBackward");

Tensor autograd_forward(const Tensor& logits, const Tensor& mean, const Tensor& scale,
                        const Tensor& target, int64_t scale_by, double floor) {
  if (is_transformed() ||
      (torch::autograd::isFwGradDefined(logits) || torch::autograd::isFwGradDefined(mean) ||
       torch::autograd::isFwGradDefined(scale) || torch::autograd::isFwGradDefined(target)))
    return composite(logits, mean, scale, target, scale_by, floor);
  if (!torch::autograd::compute_requires_grad(logits, mean, scale, target)) {
    at::AutoDispatchBelowADInplaceOrView below;
    return call(logits, mean, scale, target, scale_by, floor);
  }
  return MixtureFunction::apply(logits, mean, scale, target, scale_by, floor);
}

Gradients autograd_backward(const Tensor& grad_nll, const Tensor& logits, const Tensor& mean,
                            const Tensor& scale, const Tensor& target, int64_t scale_by,
                            double floor) {
  if (is_differentiated(grad_nll, logits, mean, scale, target))
    return composite_backward(grad_nll, logits, mean, scale, target, scale_by, floor);
  at::AutoDispatchBelowADInplaceOrView below;
  return call_backward(grad_nll, logits, mean, scale, target, scale_by, floor);
}

}  // namespace

Tensor mixture_nll_by_formula(const Tensor& logits, const Tensor& mean, const Tensor& scale,
                              const Tensor& target, int64_t scale_by, double floor) {
  return composite(logits, mean, scale, target, scale_by, floor);
}

TORCH_LIBRARY_FRAGMENT(activations_ext, library) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  library.def(
      "mixture_nll(Tensor logits, Tensor mean, Tensor scale, Tensor target, int scale_by, "
      "float floor) -> Tensor",
      tags);
  library.def(
      "mixture_nll_backward(Tensor grad_nll, Tensor logits, Tensor mean, Tensor scale, "
      "Tensor target, int scale_by, float floor) -> (Tensor logits, Tensor mean, Tensor scale)",
      tags);
}

TORCH_LIBRARY_IMPL(activations_ext, CPU, library) {
  library.impl("mixture_nll", &kernel_forward);
  library.impl("mixture_nll_backward", &kernel_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, CUDA, library) {
  library.impl("mixture_nll", &kernel_forward);
  library.impl("mixture_nll_backward", &kernel_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, Meta, library) {
  library.impl("mixture_nll", &meta_forward);
  library.impl("mixture_nll_backward", &meta_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, CompositeExplicitAutograd, library) {
  library.impl("mixture_nll", &composite);
  library.impl("mixture_nll_backward", &composite_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, Autograd, library) {
  library.impl("mixture_nll", &autograd_forward);
  library.impl("mixture_nll_backward", &autograd_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, FuncTorchBatched, library) {
  library.impl("mixture_nll", &composite);
  library.impl("mixture_nll_backward", &composite_backward);
}

}  // namespace activations_ext
