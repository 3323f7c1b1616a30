// The operator row_statistics, of which the classification losses are made: schema, device and
// Meta kernels, Autograd. Where the kernels do not reach (another device, vmap, forward mode,
// second derivatives) the formula runs on torch's operators.
#include "statistics_ops.h"

#include <ATen/ATen.h>
#include <ATen/MemoryOverlap.h>
#include <ATen/OpMathType.h>
#include <ATen/WrapDimUtils.h>
#include <ATen/functorch/BatchedTensorImpl.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <limits>

#include "../autograd/node.h"
#include "../autograd/plain.h"
#include "../checks.h"
#include "../launch.h"
#include "find_operator.h"

namespace activations_ext {
namespace {

using at::Tensor;
using Statistics = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

Statistics call(const Tensor& logits, int64_t dim, const MaybeTensor& target,
                const MaybeTensor& weight, int64_t ignore_index, double softcap, bool expected,
                bool overwrite) {
  static const auto op = find_operator<decltype(call)>("row_statistics");
  return op.call(logits, dim, target, weight, ignore_index, softcap, expected, overwrite);
}

// Of 0, or a number that the type that computes can hold and divide by.
void check_softcap(double softcap, at::ScalarType dtype) {
  const bool is_double = dtype == at::kDouble;
  const double least = is_double ? std::numeric_limits<double>::min() : FLT_MIN;
  const double largest = is_double ? std::numeric_limits<double>::max() : FLT_MAX;
  TORCH_CHECK_VALUE(softcap == 0 || (softcap >= least && softcap <= largest),
                    "row_statistics(): expected argument 'softcap' to be 0 or from ", least, " to ",
                    largest, ", but got ", softcap);
}

// --- the formula on torch's operators -----------------------------------------------------------

// f, in the type that computes.
Tensor capped(const Tensor& logits, double softcap) {
  const Tensor x = logits.to(at::toOpMathType(logits.scalar_type()));
  return softcap == 0 ? x : at::tanh(x / softcap) * softcap;
}

// `weight`, broadcastable to the logits.
Tensor spread(const Tensor& weight, const Tensor& logits, int64_t dim) {
  const Tensor w = weight.to(at::toOpMathType(logits.scalar_type()));
  if (w.dim() == logits.dim()) return w;
  std::vector<int64_t> shape(std::max<int64_t>(1, logits.dim()), 1);
  shape[dim] = -1;
  return w.view(shape);
}

Statistics composite(const Tensor& logits, int64_t dim, const MaybeTensor& target,
                     const MaybeTensor& weight, int64_t ignore_index, double softcap, bool, bool) {
  check_softcap(softcap, logits.scalar_type());
  dim = at::maybe_wrap_dim(dim, logits.dim());
  const Tensor f = capped(logits, softcap);
  const Tensor largest = f.detach().amax(dim, /*keepdim=*/true);
  const Tensor m = at::where(largest == -INFINITY, at::zeros_like(largest), largest);
  const Tensor d = f - m, e = d.exp(), sum = e.sum(dim);
  const Tensor zero = at::zeros_like(sum);
  Tensor target_logit = zero, weighted_sum = zero;
  if (target.has_value()) {
    const Tensor none = *target == ignore_index;
    const Tensor index = at::where(none, at::zeros_like(*target), *target).unsqueeze(dim);
    target_logit = at::where(none, zero, d.gather(dim, index).squeeze(dim));
  }
  if (weight.has_value()) weighted_sum = (d * spread(*weight, logits, dim)).sum(dim);
  const Tensor finite = at::where(e == 0, at::zeros_like(d), d);
  return {m.squeeze(dim), sum.log(), target_logit, weighted_sum, (e * finite).sum(dim) / sum};
}

Tensor composite_backward(const MaybeTensor& grad_log_sum, const MaybeTensor& grad_target_logit,
                          const MaybeTensor& grad_weighted_sum,
                          const MaybeTensor& grad_expected_logit, const Tensor& logits, int64_t dim,
                          const MaybeTensor& target, const MaybeTensor& weight,
                          int64_t ignore_index, double softcap, const Tensor& maximum,
                          const Tensor&, const MaybeTensor&) {
  dim = at::maybe_wrap_dim(dim, logits.dim());
  const Tensor f = capped(logits, softcap), d = f - maximum.detach().unsqueeze(dim);
  const Tensor p = d.softmax(dim);
  Tensor grad = at::zeros_like(d);
  if (grad_log_sum.has_value()) grad = grad + p * grad_log_sum->unsqueeze(dim);
  if (grad_expected_logit.has_value()) {
    const Tensor finite = at::where(p == 0, at::zeros_like(d), d);
    const Tensor bent = finite + 1 - (p * finite).sum(dim, /*keepdim=*/true);
    grad = grad + p * bent * grad_expected_logit->unsqueeze(dim);
  }
  if (grad_weighted_sum.has_value() && weight.has_value())
    grad = grad + grad_weighted_sum->unsqueeze(dim) * spread(*weight, logits, dim);
  if (grad_target_logit.has_value() && target.has_value()) {
    const Tensor none = *target == ignore_index;
    const Tensor index = at::where(none, at::zeros_like(*target), *target).unsqueeze(dim);
    const Tensor share = at::where(none, at::zeros_like(*grad_target_logit), *grad_target_logit);
    grad = grad.scatter_add(dim, index, share.unsqueeze(dim));
  }
  if (softcap != 0) grad = grad * (1 - (f / softcap).square());
  return grad.to(logits.scalar_type());
}

// --- devices and Meta ---------------------------------------------------------------------------

// The shape of what has one number for each row.
c10::SymDimVector shape_of_rows(const Tensor& logits, int64_t dim) {
  c10::SymDimVector rows(logits.sym_sizes().begin(), logits.sym_sizes().end());
  if (!rows.empty()) rows.erase(rows.begin() + dim);
  return rows;
}

// A row's target is read at the same place as its statistics are written; a weight for each logit
// at the same place as the logit.
int64_t check(const Tensor& logits, int64_t dim, const MaybeTensor& target,
              const MaybeTensor& weight) {
  dim = at::maybe_wrap_dim(dim, logits.dim());
  if (target.has_value()) {
    const c10::SymDimVector rows = shape_of_rows(logits, dim);
    TORCH_CHECK(
        target->scalar_type() == at::kLong && target->sym_sizes() == c10::SymIntArrayRef(rows),
        "row_statistics(): expected argument 'target' to be an int64 tensor of shape ",
        c10::SymIntArrayRef(rows), ", but got ", target->scalar_type(), " of shape ",
        target->sym_sizes());
    check_same_device("row_statistics", "target", *target, "logits", logits);
  }
  if (weight.has_value()) {
    const c10::SymInt classes = logits.dim() == 0 ? c10::SymInt(1) : logits.sym_size(dim);
    const bool of_class = weight->dim() == 1 && weight->sym_numel() == classes;
    const bool of_logit =
        weight->sym_sizes() == logits.sym_sizes() && weight->scalar_type() == logits.scalar_type();
    TORCH_CHECK(of_class || of_logit,
                "row_statistics(): expected argument 'weight' to have one "
                "number for each of ",
                classes, " classes, or the shape and dtype of the logits, ", "but got shape ",
                weight->sym_sizes());
    check_same_device("row_statistics", "weight", *weight, "logits", logits);
  }
  return dim;
}

RowsOfLogits rows_of(const Tensor& logits, int64_t dim, const MaybeTensor& target,
                     const MaybeTensor& weight, int64_t ignore_index, double softcap) {
  return {logits, or_undefined(target), or_undefined(weight), dim, ignore_index, softcap};
}

Statistics kernel_forward(const Tensor& logits, int64_t dim, const MaybeTensor& target,
                          const MaybeTensor& weight, int64_t ignore_index, double softcap,
                          bool expected, bool) {
  if (!has_launchers(logits.device()))  // a card that nothing was compiled for
    return composite(logits, dim, target, weight, ignore_index, softcap, expected, false);
  check_floating_point("row_statistics", "logits", logits);
  check_softcap(softcap, logits.scalar_type());
  dim = check(logits, dim, target, weight);
  const auto row = launch_on(logits).row_statistics(
      rows_of(logits, dim, target, weight, ignore_index, softcap), expected);
  const auto or_zero = [&](const Tensor& numbers) {
    return numbers.defined() ? numbers : at::zeros_like(row.maximum);
  };
  return {row.maximum, row.log_sum, or_zero(row.target_logit), or_zero(row.weighted_sum),
          or_zero(row.expected_logit)};
}

// Autograd's saved tensors come from the caller's hooks, and the operator is anybody's to call.
int64_t check_gradient(const std::array<MaybeTensor, 5>& gradients_and_expected_logit,
                       const Tensor& logits, int64_t dim, const MaybeTensor& target,
                       const MaybeTensor& weight, const Tensor& maximum, const Tensor& log_sum) {
  constexpr const char* kName = "row_statistics_backward";
  check_floating_point(kName, "logits", logits);
  dim = check(logits, dim, target, weight);
  const auto dtype = at::toOpMathType(logits.scalar_type());
  const c10::SymDimVector rows = shape_of_rows(logits, dim);
  const auto check_row = [&](const char* argument, const Tensor& row) {
    TORCH_CHECK(row.scalar_type() == dtype && row.sym_sizes() == c10::SymIntArrayRef(rows), kName,
                "(): expected argument '", argument, "' to be a tensor of ", dtype, " of shape ",
                c10::SymIntArrayRef(rows), ", but got ", row.scalar_type(), " of shape ",
                row.sym_sizes());
    check_same_device(kName, argument, row, "logits", logits);
  };
  check_row("maximum", maximum);
  check_row("log_sum", log_sum);
  constexpr std::array kNames = {"grad_log_sum", "grad_target_logit", "grad_weighted_sum",
                                 "grad_expected_logit", "expected_logit"};
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    const MaybeTensor& row = gradients_and_expected_logit[i];
    if (row.has_value()) check_row(kNames[i], *row);
  }
  TORCH_CHECK(
      gradients_and_expected_logit[4].has_value() || !gradients_and_expected_logit[3].has_value(),
      kName, "(): expected argument 'expected_logit' to be given with its gradient, but got None");
  return dim;
}

Tensor kernel_backward(const MaybeTensor& grad_log_sum, const MaybeTensor& grad_target_logit,
                       const MaybeTensor& grad_weighted_sum, const MaybeTensor& grad_expected_logit,
                       const Tensor& logits, int64_t dim, const MaybeTensor& target,
                       const MaybeTensor& weight, int64_t ignore_index, double softcap,
                       const Tensor& maximum, const Tensor& log_sum,
                       const MaybeTensor& expected_logit) {
  if (!has_launchers(logits.device()))
    return composite_backward(grad_log_sum, grad_target_logit, grad_weighted_sum,
                              grad_expected_logit, logits, dim, target, weight, ignore_index,
                              softcap, maximum, log_sum, expected_logit);
  return row_statistics_gradient(grad_log_sum, grad_target_logit, grad_weighted_sum,
                                 grad_expected_logit, logits, dim, target, weight, ignore_index,
                                 softcap, maximum, log_sum, expected_logit, /*overwrite=*/false);
}

Statistics meta_forward(const Tensor& logits, int64_t dim, const MaybeTensor& target,
                        const MaybeTensor& weight, int64_t, double softcap, bool, bool) {
  check_floating_point("row_statistics", "logits", logits);
  check_softcap(softcap, logits.scalar_type());
  dim = check(logits, dim, target, weight);
  const c10::SymDimVector rows = shape_of_rows(logits, dim);
  const auto numbers = [&] {
    return at::empty_symint(rows, logits.options().dtype(at::toOpMathType(logits.scalar_type())));
  };
  return {numbers(), numbers(), numbers(), numbers(), numbers()};
}

Tensor meta_backward(const MaybeTensor& grad_log_sum, const MaybeTensor& grad_target_logit,
                     const MaybeTensor& grad_weighted_sum, const MaybeTensor& grad_expected_logit,
                     const Tensor& logits, int64_t dim, const MaybeTensor& target,
                     const MaybeTensor& weight, int64_t, double, const Tensor& maximum,
                     const Tensor& log_sum, const MaybeTensor& expected_logit) {
  check_gradient(
      {grad_log_sum, grad_target_logit, grad_weighted_sum, grad_expected_logit, expected_logit},
      logits, dim, target, weight, maximum, log_sum);
  return at::empty_like(logits);
}

// --- Autograd -----------------------------------------------------------------------------------

void check_may_be_overwritten(const Tensor& logits, const Tensor& weight) {
  TORCH_CHECK(!(logits.is_leaf() && logits.requires_grad()),
              "row_statistics(): expected argument 'logits' to be the result of an operator, where "
              "its gradient is to overwrite it, but got a leaf Variable that requires grad");
  at::assert_no_internal_overlap(logits);
  if (weight.defined()) at::assert_no_overlap(logits, weight);
}

struct RowStatisticsFunction : torch::autograd::Function<RowStatisticsFunction> {
  static constexpr bool is_traceable = true;

  static variable_list forward(torch::autograd::AutogradContext* context, const Tensor& logits,
                               int64_t dim, const MaybeTensor& target, const MaybeTensor& weight,
                               int64_t ignore_index, double softcap, bool expected,
                               bool overwrite) {
    at::AutoDispatchBelowADInplaceOrView below;
    const auto [maximum, log_sum, target_logit, weighted_sum, expected_logit] =
        call(logits, dim, target, weight, ignore_index, softcap, expected, overwrite);
    context->save_for_backward(
        {logits, or_undefined(target), or_undefined(weight), maximum, log_sum, expected_logit});
    context->saved_data["dim"] = dim;
    context->saved_data["ignore_index"] = ignore_index;
    context->saved_data["softcap"] = softcap;
    context->saved_data["overwrite"] = overwrite;
    context->mark_non_differentiable({maximum});
    context->set_materialize_grads(false);
    return {maximum, log_sum, target_logit, weighted_sum, expected_logit};
  }

  static variable_list backward(torch::autograd::AutogradContext* context, variable_list grads) {
    variable_list result(8);
    const auto is_defined = [](const Tensor& grad) { return grad.defined(); };
    if (std::none_of(grads.begin() + 1, grads.end(), is_defined)) return result;
    const variable_list saved = context->get_saved_variables();
    const int64_t dim = context->saved_data["dim"].toInt();
    const int64_t ignore_index = context->saved_data["ignore_index"].toInt();
    const double softcap = context->saved_data["softcap"].toDouble();
    if (saved[2].defined() && saved[2].requires_grad() && grads[3].defined()) {
      const int64_t along = at::maybe_wrap_dim(dim, saved[0].dim());
      const Tensor d = capped(saved[0], softcap) - saved[3].unsqueeze(along);
      Tensor shares = grads[3].unsqueeze(along) * d;
      if (saved[2].dim() != saved[0].dim())
        shares = shares.sum_to_size(spread(saved[2], saved[0], along).sizes());
      result[3] = shares.reshape(saved[2].sizes()).to(saved[2].scalar_type());
    }
    if (!context->needs_input_grad(0)) return result;
    const auto gradient = [&](auto of, const Tensor& logits, auto... more) {
      return of(or_none(grads[1]), or_none(grads[2]), or_none(grads[3]), or_none(grads[4]), logits,
                dim, or_none(saved[1]), or_none(saved[2]), ignore_index, softcap, saved[3],
                saved[4], MaybeTensor(saved[5]), more...);
    };
    // A gradient that will be differentiated reads the logits once more.
    if (context->saved_data["overwrite"].toBool() && is_plain(saved[0]) && nothing_intercepts() &&
        !at::GradMode::is_enabled()) {
      result[0] = gradient(&activations_ext::row_statistics_gradient, saved[0].detach(),
                           /*overwrite=*/true);
      torch::autograd::increment_version(saved[0]);
    } else {
      result[0] = gradient(&row_statistics_backward, saved[0]);
    }
    return result;
  }
};

const bool named = name_function<RowStatisticsFunction>("RowStatisticsBackward");

Statistics autograd_forward(const Tensor& logits, int64_t dim, const MaybeTensor& target,
                            const MaybeTensor& weight, int64_t ignore_index, double softcap,
                            bool expected, bool overwrite) {
  const Tensor weights = or_undefined(weight);
  if (is_transformed() || torch::autograd::isFwGradDefined(logits) ||
      torch::autograd::isFwGradDefined(weights))
    return composite(logits, dim, target, weight, ignore_index, softcap, expected, overwrite);
  if (!torch::autograd::compute_requires_grad(logits, weights)) {
    at::AutoDispatchBelowADInplaceOrView below;
    return call(logits, dim, target, weight, ignore_index, softcap, expected, overwrite);
  }
  if (overwrite) check_may_be_overwritten(logits, weights);
  const variable_list row = RowStatisticsFunction::apply(logits, dim, target, weight, ignore_index,
                                                         softcap, expected, overwrite);
  return {row[0], row[1], row[2], row[3], row[4]};
}

Tensor autograd_backward(const MaybeTensor& grad_log_sum, const MaybeTensor& grad_target_logit,
                         const MaybeTensor& grad_weighted_sum,
                         const MaybeTensor& grad_expected_logit, const Tensor& logits, int64_t dim,
                         const MaybeTensor& target, const MaybeTensor& weight, int64_t ignore_index,
                         double softcap, const Tensor& maximum, const Tensor& log_sum,
                         const MaybeTensor& expected_logit) {
  if (is_differentiated(or_undefined(grad_log_sum), or_undefined(grad_target_logit),
                        or_undefined(grad_weighted_sum), or_undefined(grad_expected_logit), logits,
                        or_undefined(weight)))
    return composite_backward(grad_log_sum, grad_target_logit, grad_weighted_sum,
                              grad_expected_logit, logits, dim, target, weight, ignore_index,
                              softcap, maximum, log_sum, expected_logit);
  at::AutoDispatchBelowADInplaceOrView below;
  return row_statistics_backward(grad_log_sum, grad_target_logit, grad_weighted_sum,
                                 grad_expected_logit, logits, dim, target, weight, ignore_index,
                                 softcap, maximum, log_sum, expected_logit);
}

}  // namespace

Tensor row_statistics_backward(const MaybeTensor& grad_log_sum,
                               const MaybeTensor& grad_target_logit,
                               const MaybeTensor& grad_weighted_sum,
                               const MaybeTensor& grad_expected_logit, const Tensor& logits,
                               int64_t dim, const MaybeTensor& target, const MaybeTensor& weight,
                               int64_t ignore_index, double softcap, const Tensor& maximum,
                               const Tensor& log_sum, const MaybeTensor& expected_logit) {
  static const auto op =
      find_operator<decltype(row_statistics_backward)>("row_statistics_backward");
  return op.call(grad_log_sum, grad_target_logit, grad_weighted_sum, grad_expected_logit, logits,
                 dim, target, weight, ignore_index, softcap, maximum, log_sum, expected_logit);
}

Tensor row_statistics_gradient(const MaybeTensor& grad_log_sum,
                               const MaybeTensor& grad_target_logit,
                               const MaybeTensor& grad_weighted_sum,
                               const MaybeTensor& grad_expected_logit, const Tensor& logits,
                               int64_t dim, const MaybeTensor& target, const MaybeTensor& weight,
                               int64_t ignore_index, double softcap, const Tensor& maximum,
                               const Tensor& log_sum, const MaybeTensor& expected_logit,
                               bool overwrite) {
  dim = check_gradient(
      {grad_log_sum, grad_target_logit, grad_weighted_sum, grad_expected_logit, expected_logit},
      logits, dim, target, weight, maximum, log_sum);
  if (overwrite) at::assert_no_internal_overlap(logits);
  return launch_on(logits).row_statistics_gradient(
      rows_of(logits, dim, target, weight, ignore_index, softcap),
      {maximum, log_sum, {}, {}, or_undefined(expected_logit)},
      {{},
       or_undefined(grad_log_sum),
       or_undefined(grad_target_logit),
       or_undefined(grad_weighted_sum),
       or_undefined(grad_expected_logit)},
      overwrite);
}

void check_saved_rows(const Tensor& logits, int64_t dim, const Tensor& target,
                      const Tensor& maximum, const Tensor& log_sum) {
  check_gradient({}, logits, dim, target, {}, maximum, log_sum);
}

Statistics row_statistics_by_formula(const Tensor& logits, int64_t dim, const MaybeTensor& target,
                                     const MaybeTensor& weight, int64_t ignore_index,
                                     double softcap) {
  return composite(logits, dim, target, weight, ignore_index, softcap, /*expected=*/true,
                   /*overwrite=*/false);
}

TORCH_LIBRARY_FRAGMENT(activations_ext, library) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  library.def(
      "row_statistics(Tensor logits, int dim, Tensor? target, Tensor? weight, int ignore_index, "
      "float softcap, bool expected, bool overwrite) -> (Tensor maximum, Tensor log_sum, Tensor "
      "target_logit, "
      "Tensor weighted_sum, Tensor expected_logit)",
      tags);
  library.def(
      "row_statistics_backward(Tensor? grad_log_sum, Tensor? grad_target_logit, "
      "Tensor? grad_weighted_sum, Tensor? grad_expected_logit, Tensor logits, int dim, "
      "Tensor? target, Tensor? weight, int ignore_index, float softcap, Tensor maximum, "
      "Tensor log_sum, Tensor? expected_logit) -> Tensor",
      tags);
}

TORCH_LIBRARY_IMPL(activations_ext, CPU, library) {
  library.impl("row_statistics", &kernel_forward);
  library.impl("row_statistics_backward", &kernel_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, CUDA, library) {
  library.impl("row_statistics", &kernel_forward);
  library.impl("row_statistics_backward", &kernel_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, Meta, library) {
  library.impl("row_statistics", &meta_forward);
  library.impl("row_statistics_backward", &meta_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, CompositeExplicitAutograd, library) {
  library.impl("row_statistics", &composite);
  library.impl("row_statistics_backward", &composite_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, Autograd, library) {
  library.impl("row_statistics", &autograd_forward);
  library.impl("row_statistics_backward", &autograd_backward);
}

TORCH_LIBRARY_IMPL(activations_ext, FuncTorchBatched, library) {
  library.impl("row_statistics", &composite);
  library.impl("row_statistics_backward", &composite_backward);
}

}  // namespace activations_ext
