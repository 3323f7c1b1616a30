#include "statistics_ops.h"

#include <ATen/MemoryOverlap.h>
#include <ATen/OpMathType.h>
#include <ATen/WrapDimUtils.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>

#include "../autograd/plain.h"
#include "../device/checks.h"
#include "../device/launchers.h"
#include "operator.h"

namespace activations_ext {

using at::Tensor;

namespace {

// The shape of a tensor with one number for each row.
c10::SymDimVector shape_of_rows(const Tensor& logits, int64_t dim) {
  c10::SymDimVector rows(logits.sym_sizes().begin(), logits.sym_sizes().end());
  if (!rows.empty()) rows.erase(rows.begin() + dim);
  return rows;
}

// A row's target is read at the same place as its statistics are written; a weight for each logit
// at the same place as the logit.
int64_t check(const RowArguments& of) {
  const auto& [logits, given_dim, target, weight, class_weight, smoothing, ignore_index, map] = of;
  const int64_t dim = at::maybe_wrap_dim(given_dim, logits.dim());
  if (target.has_value()) {
    TORCH_CHECK(target->scalar_type() == at::kLong && one_for_each_row(*target, logits, dim),
                "row_statistics(): expected argument 'target' to be an int64 tensor of shape ",
                c10::SymIntArrayRef(shape_of_rows(logits, dim)), ", but got ",
                target->scalar_type(), " of shape ", target->sym_sizes());
    check_same_device("row_statistics", "target", *target, "logits", logits);
  }
  const c10::SymInt classes = logits.dim() == 0 ? c10::SymInt(1) : logits.sym_size(dim);
  if (weight.has_value()) {
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
  const bool of_logit = weight.has_value() && weight->sym_sizes() == logits.sym_sizes() &&
                        weight->scalar_type() == logits.scalar_type();
  TORCH_CHECK_VALUE(smoothing == 0 || (of_logit && smoothing > 0 && smoothing <= 1),
                    "row_statistics(): expected argument 'smoothing' to be from 0 to 1, and 0 "
                    "without a weight for each logit, but got ",
                    smoothing);
  if (class_weight.has_value()) {
    TORCH_CHECK(
        of_logit && class_weight->dim() == 1 && class_weight->sym_numel() == classes,
        "row_statistics(): expected argument 'class_weight' to have one number for each of ",
        classes, " classes, beside a weight for each logit, but got shape ",
        class_weight->sym_sizes());
    check_same_device("row_statistics", "class_weight", *class_weight, "logits", logits);
  }
  return dim;
}

// Saved tensors come from the caller's hooks, and the operator is public.
int64_t check_gradient(const RowGradientArguments& of) {
  constexpr const char* kName = "row_statistics_backward";
  const Tensor& logits = of.rows.logits;
  check_floating_point(kName, "logits", logits);
  const int64_t dim = check(of.rows);
  const auto dtype = at::toOpMathType(logits.scalar_type());
  const auto check_row = [&](const char* argument, const Tensor& row) {
    TORCH_CHECK(row.scalar_type() == dtype && one_for_each_row(row, logits, dim), kName,
                "(): expected argument '", argument, "' to be a tensor of ", dtype, " of shape ",
                c10::SymIntArrayRef(shape_of_rows(logits, dim)), ", but got ", row.scalar_type(),
                " of shape ", row.sym_sizes());
    check_same_device(kName, argument, row, "logits", logits);
  };
  const auto check_any = [&](const char* argument, const MaybeTensor& row) {
    if (row.has_value()) check_row(argument, *row);
  };
  check_row("maximum", of.maximum);
  check_row("log_sum", of.log_sum);
  check_any("grad_log_sum", of.grad_log_sum);
  check_any("grad_target_logit", of.grad_target_logit);
  check_any("grad_weighted_sum", of.grad_weighted_sum);
  check_any("grad_expected_logit", of.grad_expected_logit);
  check_any("expected_logit", of.expected_logit);
  TORCH_CHECK(of.expected_logit.has_value() || !of.grad_expected_logit.has_value(), kName,
              "(): expected argument 'expected_logit' to be given with its gradient, but got None");
  return dim;
}

RowsOfLogits rows_of(const RowArguments& of, int64_t dim) {
  return {.logits = of.logits,
          .target = or_undefined(of.target),
          .weight = or_undefined(of.weight),
          .dim = dim,
          .ignore_index = of.ignore_index,
          .map = of.map,
          .class_weight = or_undefined(of.class_weight),
          .smoothing = of.smoothing};
}

struct RowStatisticsBackward {
  static constexpr const char* kSchema =
      "row_statistics_backward(Tensor? grad_log_sum, Tensor? grad_target_logit, "
      "Tensor? grad_weighted_sum, Tensor? grad_expected_logit, Tensor logits, int dim, "
      "Tensor? target, Tensor? weight, Tensor? class_weight, float smoothing, int ignore_index, "
      "float softcap, float logit_scale, Tensor maximum, Tensor log_sum, Tensor? expected_logit) "
      "-> Tensor";
  using Arguments = RowGradientArguments;

  static Tensor kernel(const Arguments& of) {
    if (!has_launchers(of.rows.logits.device())) return formula(of);
    return row_statistics_backward(of, /*overwrite=*/false);
  }
  static Tensor shape(const Arguments& of) {
    check_gradient(of);
    return at::empty_like(of.rows.logits);
  }
  static Tensor formula(const Arguments& of) { return statistics_backward_formula(of); }
};

// What was not requested by a target, weights or `expected` is a tensor without elements. With
// `overwrite`, backward may write the gradient over the logits.
struct RowStatistics {
  static constexpr const char* kSchema =
      "row_statistics(Tensor logits, int dim, Tensor? target, Tensor? weight, "
      "Tensor? class_weight, float smoothing, int ignore_index, float softcap, "
      "float logit_scale, bool expected, bool argmax, bool overwrite) -> "
      "(Tensor maximum, Tensor log_sum, Tensor target_logit, Tensor weighted_sum, "
      "Tensor expected_logit, Tensor mass, Tensor argmax)";
  struct Arguments {
    RowArguments rows;
    Wanted wanted;
    bool overwrite;
    auto members() {
      return std::tuple_cat(rows.members(), std::tie(wanted.expected, wanted.argmax, overwrite));
    }
  };

  static Statistics kernel(const Arguments& of) {
    const Tensor& logits = of.rows.logits;
    if (!has_launchers(logits.device())) return formula(of);  // a GPU without compiled kernels
    const int64_t dim = checked_dim(of);
    const auto row = launch_on(logits).row_statistics(rows_of(of.rows, dim), of.wanted);
    const auto or_empty = [&](const Tensor& numbers, at::ScalarType dtype) {
      return numbers.defined() ? numbers : at::empty({0}, row.maximum.options().dtype(dtype));
    };
    const auto dtype = row.maximum.scalar_type();
    return {row.maximum,
            row.log_sum,
            or_empty(row.target_logit, dtype),
            or_empty(row.weighted_sum, dtype),
            or_empty(row.expected_logit, dtype),
            or_empty(row.mass, dtype),
            or_empty(row.argmax, at::kLong)};
  }
  static Statistics shape(const Arguments& of) {
    const Tensor& logits = of.rows.logits;
    const c10::SymDimVector rows = shape_of_rows(logits, checked_dim(of));
    const auto empty = [&](bool wanted, at::ScalarType dtype) {
      return at::empty_symint(wanted ? rows : c10::SymDimVector{0}, logits.options().dtype(dtype));
    };
    const auto numbers = [&](bool wanted) {
      return empty(wanted, at::toOpMathType(logits.scalar_type()));
    };
    return {numbers(true),
            numbers(true),
            numbers(of.rows.target.has_value()),
            numbers(of.rows.weight.has_value()),
            numbers(of.wanted.expected),
            numbers(of.rows.weight.has_value()),
            empty(of.wanted.argmax, at::kLong)};
  }
  static Statistics formula(const Arguments& of) { return statistics_formula(of.rows, of.wanted); }

  // What backward needs.
  struct Saved {
    RowArguments rows;
    Tensor maximum, log_sum;
    MaybeTensor expected_logit;
    bool overwrite;
    auto members() {
      return std::tuple_cat(rows.members(), std::tie(maximum, log_sum, expected_logit, overwrite));
    }
  };
  static Saved save(const Arguments& of, const Statistics& row) {
    if (of.overwrite) check_may_be_overwritten(of.rows);
    return {of.rows, std::get<0>(row), std::get<1>(row),
            of.wanted.expected ? MaybeTensor(std::get<4>(row)) : std::nullopt, of.overwrite};
  }
  // The maximum is a constant, and so is its class.
  static variable_list differentiable(const Statistics& row) {
    return {std::get<1>(row), std::get<2>(row), std::get<3>(row), std::get<4>(row),
            std::get<5>(row)};
  }
  static std::string title() { return "RowStatisticsBackward"; }
  static variable_list gradients(variable_list grads, const Saved& of, const Needed<4>& needed) {
    const RowArguments& rows = of.rows;
    variable_list result(4);  // of the logits, the target and the two kinds of weights
    if (needed[2] || needed[3])
      std::tie(result[2], result[3]) =
          weight_gradients_formula(grads[2], grads[4], rows, of.maximum, needed[2], needed[3]);
    if (!needed[0]) return result;
    const auto if_wanted = [](const Tensor& grad, bool wanted) {
      return wanted ? or_none(grad) : std::nullopt;  // else of a tensor without elements
    };
    RowGradientArguments all = {
        .grad_log_sum = or_none(grads[0]),
        .grad_target_logit = if_wanted(grads[1], rows.target.has_value()),
        .grad_weighted_sum = if_wanted(grads[2], rows.weight.has_value()),
        .grad_expected_logit = if_wanted(grads[3], of.expected_logit.has_value()),
        .rows = rows,
        .maximum = of.maximum,
        .log_sum = of.log_sum,
        .expected_logit = of.expected_logit};
    // A gradient that will be differentiated reads the logits once more.
    if (of.overwrite && is_plain(rows.logits) && nothing_intercepts() &&
        !at::GradMode::is_enabled()) {
      all.rows.logits = rows.logits.detach();
      result[0] = row_statistics_backward(all, /*overwrite=*/true);
      torch::autograd::increment_version(rows.logits);
    } else {
      result[0] = call<RowStatisticsBackward>(all);
    }
    return result;
  }

 private:
  static int64_t checked_dim(const Arguments& of) {
    check_floating_point("row_statistics", "logits", of.rows.logits);
    check_map(of.rows.map, of.rows.logits.scalar_type());
    return check(of.rows);
  }
  static void check_may_be_overwritten(const RowArguments& of) {
    TORCH_CHECK(
        !(of.logits.is_leaf() && of.logits.requires_grad()),
        "row_statistics(): expected argument 'logits' to be the result of an operator, where "
        "its gradient is to overwrite it, but got a leaf Variable that requires grad");
    at::assert_no_internal_overlap(of.logits);
    for (const MaybeTensor& weight : {of.weight, of.class_weight})
      if (weight.has_value()) at::assert_no_overlap(of.logits, *weight);
  }
};

const Operators<RowStatistics, RowStatisticsBackward> registered;

}  // namespace

Tensor row_statistics_backward(const RowGradientArguments& of) {
  return call<RowStatisticsBackward>(of);
}

Tensor row_statistics_backward(const RowGradientArguments& of, bool overwrite) {
  const int64_t dim = check_gradient(of);
  const Tensor& logits = of.rows.logits;
  if (overwrite) at::assert_no_internal_overlap(logits);
  RowStatisticsTensors row, grad;
  row.maximum = of.maximum;
  row.log_sum = of.log_sum;
  row.expected_logit = or_undefined(of.expected_logit);
  grad.log_sum = or_undefined(of.grad_log_sum);
  grad.target_logit = or_undefined(of.grad_target_logit);
  grad.weighted_sum = or_undefined(of.grad_weighted_sum);
  grad.expected_logit = or_undefined(of.grad_expected_logit);
  return launch_on(logits).row_statistics_backward(rows_of(of.rows, dim), row, grad, overwrite);
}

void check_saved_rows(const RowArguments& of, const Tensor& maximum, const Tensor& log_sum) {
  check_gradient({{}, {}, {}, {}, of, maximum, log_sum, {}});
}

}  // namespace activations_ext
