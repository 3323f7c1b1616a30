#include "mixture_formula.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>

#include "../losses/mixture.h"

namespace activations_ext {
namespace {

using at::Tensor;

struct Formula {
  Tensor logits, z, sigma, log_slope, joint;

  explicit Formula(const MixtureArguments& of) {
    const auto dtype = at::toOpMathType(of.mean.scalar_type());
    logits = of.logits.to(dtype);
    const ScaleLimits limits = scale_limits(dtype == at::kDouble);
    const Tensor s = of.scale.to(dtype);
    Tensor value = s, slope = at::ones_like(s);
    switch (ScaleBy(of.scale_by)) {
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
    sigma = (value + of.floor).clamp(limits.least, limits.largest);
    log_slope = slope / sigma;
    z = (of.target.to(dtype).unsqueeze(-2) - of.mean.to(dtype)) / sigma;
    joint = logits + (-0.5 * z * z - sigma.log()).sum(-1);
  }
};

}  // namespace

Tensor mixture_formula(const MixtureArguments& arguments) {
  const Formula of(arguments);
  const Tensor weights = of.logits.logsumexp(-1), all = of.joint.logsumexp(-1);
  return weights - all + normalizer(arguments.mean.size(-1));
}

MixtureGradients mixture_backward_formula(const Tensor& grad_nll,
                                          const MixtureArguments& arguments) {
  const Formula of(arguments);
  const auto& [logits, mean, scale, target, scale_by, floor] = arguments;
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

}  // namespace activations_ext
