#include "statistics_formula.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <ATen/WrapDimUtils.h>

#include <algorithm>
#include <cmath>

#include "../device/checks.h"

namespace activations_ext {

using at::Tensor;

void check_map(const LogitMap& map, at::ScalarType dtype) {
  const PositiveNumbers positive(dtype);
  TORCH_CHECK_VALUE(map.cap == 0 || positive.have(map.cap),
                    "row_statistics(): expected argument 'softcap' to be 0 or from ",
                    positive.least, " to ", positive.largest, ", but got ", map.cap);
  const bool divides = map.cap == 0 || map.scale == 1 || positive.have(map.scale / map.cap);
  TORCH_CHECK_VALUE(positive.have(map.scale) && divides,
                    "row_statistics(): expected argument 'logit_scale', also divided by the "
                    "softcap, to be from ",
                    positive.least, " to ", positive.largest, ", but got ", map.scale);
}

namespace {

// f, in the type that computes.
Tensor mapped(const Tensor& logits, const LogitMap& map) {
  const Tensor x = logits.to(at::toOpMathType(logits.scalar_type()));
  if (map.cap != 0) return at::tanh(x * (map.scale / map.cap)) * map.cap;
  return map.scale == 1 ? x : x * map.scale;
}

// `weight`, broadcastable to the logits.
Tensor spread(const Tensor& weight, const Tensor& logits, int64_t dim) {
  const Tensor w = weight.to(at::toOpMathType(logits.scalar_type()));
  if (w.dim() == logits.dim()) return w;
  std::vector<int64_t> shape(std::max<int64_t>(1, logits.dim()), 1);
  shape[dim] = -1;
  return w.view(shape);
}

// The weights that are given as targets, smoothed.
Tensor smoothed(const RowArguments& of, int64_t dim) {
  const Tensor w = spread(*of.weight, of.logits, dim);
  if (of.smoothing == 0) return w;
  const Smoothing smoothing = Smoothing::of(of.smoothing, of.logits.size(dim));
  return w * smoothing.kept + smoothing.share;
}

// Of each logit, broadcastable.
Tensor weights_of(const RowArguments& of, int64_t dim) {
  const Tensor w = smoothed(of, dim);
  return of.class_weight.has_value() ? w * spread(*of.class_weight, of.logits, dim) : w;
}

}  // namespace

Statistics statistics_formula(const RowArguments& of, Wanted wanted) {
  const auto& [logits, given_dim, target, weight, class_weight, smoothing, ignore_index, map] = of;
  check_map(map, logits.scalar_type());
  const int64_t dim = at::maybe_wrap_dim(given_dim, logits.dim());
  const Tensor f = mapped(logits, map);
  const Tensor largest = f.detach().amax(dim, /*keepdim=*/true);
  const Tensor m = at::where(largest == -INFINITY, at::zeros_like(largest), largest);
  const Tensor d = f - m, e = d.exp(), sum = e.sum(dim);
  const auto missing = [&] { return sum.new_empty({0}); };
  Tensor target_logit, weighted_sum, expected_logit, mass;
  if (target.has_value()) {
    const Tensor none = *target == ignore_index;
    const Tensor index = at::where(none, at::zeros_like(*target), *target).unsqueeze(dim);
    const Tensor picked = d.gather(dim, index).squeeze(dim);
    target_logit = at::where(none, at::zeros_like(picked), picked);
  }
  if (weight.has_value()) {
    const Tensor weights = weights_of(of, dim);
    weighted_sum = (d * weights).sum(dim);
    mass = weights.expand_as(d).sum(dim);
  }
  if (wanted.expected) {
    const Tensor finite = at::where(e == 0, at::zeros_like(d), d);
    expected_logit = (e * finite).sum(dim) / sum;
  }
  return {m.squeeze(dim),
          sum.log(),
          target.has_value() ? target_logit : missing(),
          weight.has_value() ? weighted_sum : missing(),
          wanted.expected ? expected_logit : missing(),
          mass.defined() ? mass : missing(),
          wanted.argmax ? at::argmax(f.detach(), dim)
                        : at::empty({0}, logits.options().dtype(at::kLong))};
}

Tensor statistics_backward_formula(const RowGradientArguments& of) {
  const auto& [logits, given_dim, target, weight, class_weight, smoothing, ignore_index, map] =
      of.rows;
  const auto& [grad_log_sum, grad_target_logit, grad_weighted_sum, grad_expected_logit, rows,
               maximum, log_sum, expected_logit] = of;
  const int64_t dim = at::maybe_wrap_dim(given_dim, logits.dim());
  const Tensor f = mapped(logits, map), d = f - maximum.detach().unsqueeze(dim);
  const Tensor p = d.softmax(dim);
  Tensor grad = at::zeros_like(d);
  if (grad_log_sum.has_value()) grad = grad + p * grad_log_sum->unsqueeze(dim);
  if (grad_expected_logit.has_value()) {
    const Tensor finite = at::where(p == 0, at::zeros_like(d), d);
    const Tensor bent = finite + 1 - (p * finite).sum(dim, /*keepdim=*/true);
    grad = grad + p * bent * grad_expected_logit->unsqueeze(dim);
  }
  if (grad_weighted_sum.has_value() && weight.has_value())
    grad = grad + grad_weighted_sum->unsqueeze(dim) * weights_of(of.rows, dim);
  if (grad_target_logit.has_value() && target.has_value()) {
    const Tensor none = *target == ignore_index;
    const Tensor index = at::where(none, at::zeros_like(*target), *target).unsqueeze(dim);
    const Tensor share = at::where(none, at::zeros_like(*grad_target_logit), *grad_target_logit);
    grad = grad.scatter_add(dim, index, share.unsqueeze(dim));
  }
  if (map.cap != 0) grad = grad * (1 - (f / map.cap).square());
  if (map.scale != 1) grad = grad * map.scale;
  return grad.to(logits.scalar_type());
}

std::pair<Tensor, Tensor> weight_gradients_formula(const Tensor& grad_weighted_sum,
                                                   const Tensor& grad_mass, const RowArguments& of,
                                                   const Tensor& maximum, bool of_weight,
                                                   bool of_class_weight) {
  const int64_t dim = at::maybe_wrap_dim(of.dim, of.logits.dim());
  Tensor by_weights = at::zeros_like(maximum).unsqueeze(dim);
  if (grad_weighted_sum.defined()) {
    const Tensor d = mapped(of.logits, of.map) - maximum.unsqueeze(dim);
    by_weights = grad_weighted_sum.unsqueeze(dim) * d;
  }
  if (grad_mass.defined()) by_weights = by_weights + grad_mass.unsqueeze(dim);
  by_weights = by_weights.expand_as(of.logits);
  const auto in_shape_of = [&](const Tensor& weight, Tensor shares) {
    if (weight.dim() != of.logits.dim())
      shares = shares.sum_to_size(spread(weight, of.logits, dim).sizes());
    return shares.reshape(weight.sizes()).to(weight.scalar_type());
  };
  std::pair<Tensor, Tensor> result;
  if (of_weight) {
    Tensor shares = by_weights;
    if (of.smoothing != 0) shares = shares * (1 - of.smoothing);
    if (of.class_weight.has_value()) shares = shares * spread(*of.class_weight, of.logits, dim);
    result.first = in_shape_of(*of.weight, shares);
  }
  if (of_class_weight)
    result.second = in_shape_of(*of.class_weight, by_weights * smoothed(of, dim));
  return result;
}

}  // namespace activations_ext
