#include "mixture_formula.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>

#include "../autograd/symbolic.h"
#include "../losses/mixture.h"

namespace activations_ext {
namespace {

using at::Tensor;

ScaleLimits limits_of(const Tensor& tensor) {
  return scale_limits(tensor.scalar_type() == at::kDouble);
}

struct Formula {
  Tensor logits, joint;
  Deviation<Symbolic> deviation;

  explicit Formula(const MixtureArguments& of) {
    const auto dtype = at::toOpMathType(of.mean.scalar_type());
    logits = of.logits.to(dtype);
    const Symbolic target = of.target.to(dtype).unsqueeze(-2), mean = of.mean.to(dtype),
                   scale = of.scale.to(dtype);
    with_scale(ScaleBy(of.scale_by), [&](auto f) {
      deviation = deviation.of(f, target, mean, scale, of.floor, limits_of(scale.tensor));
    });
    joint = logits + deviation.log_density().tensor.sum(-1);
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
  const Symbolic each = part.unsqueeze(-1);
  return {grad_logits.to(logits.scalar_type()),
          shared(each, of.deviation.mean_slope()).tensor.to(mean.scalar_type()),
          shared(each, of.deviation.scale_slope()).tensor.to(scale.scalar_type())};
}

Tensor mixture_scale(const Tensor& scale, int64_t scale_by, double floor) {
  const Symbolic number = scale.to(at::toOpMathType(scale.scalar_type()));
  Tensor result;
  with_scale(ScaleBy(scale_by), [&](auto f) {
    const ScaleLimits limits = limits_of(number.tensor);
    result = limited(f.value(number, limits) + Symbolic(floor), limits).tensor;
  });
  return result.to(scale.scalar_type());
}

}  // namespace activations_ext
