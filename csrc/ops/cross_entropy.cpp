// The usual cross-entropy without Python's and the dispatcher's time for each step: at 128 × 10 it
// is all the time there is. The look at the logits and the gradient are row_statistics'.
#include "cross_entropy.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/EmptyTensor.h>
#include <ATen/OpMathType.h>
#include <ATen/core/grad_mode.h>

#include <array>

#include "../autograd/node.h"
#include "../autograd/plain.h"
#include "../launch.h"
#include "../layout.h"
#include "statistics_ops.h"

namespace activations_ext {
namespace {

using at::Tensor;
using at::Reduction::Reduction;

int64_t class_dim(const Tensor& logits) { return logits.dim() == 1 ? 0 : 1; }

// grad_output · share of each row, and its negative; an ignored row has no gradient, not even of an
// infinite grad_output.
template <class S, class Compute = at::opmath_type<S>>
std::array<Tensor, 2> gradients_of_rows(const Tensor& grad_output, const Tensor& share) {
  const Tensor log_sum = at::empty_like(share), target_logit = at::empty_like(share);
  const auto* of_row = static_cast<const Compute*>(readable(share));
  const auto* grad = static_cast<const S*>(readable(grad_output));
  Compute *up = log_sum.mutable_data_ptr<Compute>(),
          *down = target_logit.mutable_data_ptr<Compute>();
  const int64_t step = grad_output.dim() == 0 ? 0 : 1;
  for (int64_t r = 0; r < share.numel(); ++r) {
    up[r] = of_row[r] == 0 ? Compute(0) : of_row[r] * Compute(grad[r * step]);
    down[r] = -up[r];
  }
  return {log_sum, target_logit};
}

// `share` is what `cross_entropy` below saved, and not something else that a hook unpacked.
bool are_rows_of(const Tensor& logits, const Tensor& share) {
  return is_plain(logits) && logits.is_cpu() && is_plain(share) && share.is_cpu() &&
         share.is_contiguous() && share.scalar_type() == at::toOpMathType(logits.scalar_type());
}

// saved: logits, target, share (the derivative of the result by the row's loss), maximum, log_sum
struct CrossEntropyNode : SavingNode<CrossEntropyNode, 1, 5, 1> {
  static std::string title() { return "CrossEntropyLossBackward"; }

  static variable_list gradients(Tensor grad_output, const Arguments& of) {
    const auto& [logits, target, share, maximum, log_sum] = of.saved;
    const int64_t dim = class_dim(logits), ignore_index = int64_t(of.parameters[0]);
    TORCH_CHECK(
        grad_output.dim() == 0 || grad_output.sym_sizes() == share.sym_sizes(),
        "cross_entropy_backward(): expected argument 'grad_output' to have no dimensions or "
        "the shape of the rows, ",
        share.sym_sizes(), ", but got ", grad_output.sym_sizes());
    if (at::GradMode::is_enabled() || !nothing_intercepts() || !is_plain(grad_output) ||
        !are_rows_of(logits, share) || grad_output.scalar_type() != logits.scalar_type()) {
      const Tensor grad = at::where(share == 0, 0, share * grad_output.to(share.scalar_type()));
      return {row_statistics_backward(grad, -grad, {}, {}, logits, dim, target, {}, ignore_index,
                                      /*softcap=*/0.0, maximum, log_sum, {})};
    }
    std::array<Tensor, 2> grad;
    AT_DISPATCH_FLOATING_TYPES_AND2(
        at::kBFloat16, at::kHalf, logits.scalar_type(), "cross_entropy_backward",
        [&] { grad = gradients_of_rows<scalar_t>(grad_output.contiguous(), share); });
    at::AutoDispatchBelowADInplaceOrView below;
    return {row_statistics_gradient(grad[0], grad[1], {}, {}, logits, dim, target, {}, ignore_index,
                                    0.0, maximum, log_sum, {}, /*overwrite=*/false)};
  }
};

const bool named = name_nodes<CrossEntropyNode>();

bool one_class_a_row(const Tensor& logits, const Tensor& target) {
  if (logits.dim() == 0 || target.dim() != logits.dim() - 1) return false;
  const int64_t dim = class_dim(logits);
  for (int64_t d = 0; d < target.dim(); ++d) {
    if (target.size(d) != logits.size(d < dim ? d : d + 1)) return false;
  }
  return logits.size(dim) > 0;
}

bool fits(const Tensor& logits, const Tensor& target, int64_t ignore_index) {
  const auto classes = target.scalar_type();
  return nothing_intercepts() && logits.is_cpu() && is_plain(logits) && target.is_cpu() &&
         is_plain_memory(target) &&
         (classes == at::kLong || classes == at::kInt || classes == at::kByte) &&
         !torch::autograd::isFwGradDefined(logits) && one_class_a_row(logits, target) &&
         int64_t(double(ignore_index)) == ignore_index;
}

struct Rows {
  Tensor losses;     // for Reduction::None
  double sum = 0.0;  // of the losses
  int64_t kept = 0;  // rows that are not ignored
};

template <class S, class Compute = at::opmath_type<S>>
Rows rows_of(const RowStatisticsTensors& row, const Tensor& target, int64_t ignore_index,
             at::ScalarType dtype, Reduction reduction) {
  const int64_t* classes = target.const_data_ptr<int64_t>();
  const Compute* log_sum = row.log_sum.const_data_ptr<Compute>();
  const Compute* target_logit = row.target_logit.const_data_ptr<Compute>();
  Rows rows;
  S* losses = nullptr;
  if (reduction == Reduction::None) {
    rows.losses = at::empty(target.sizes(), row.log_sum.options().dtype(dtype));
    losses = rows.losses.mutable_data_ptr<S>();
  }
  std::array<double, 4> sums = {};  // an addition takes longer than the next row may wait
  for (int64_t r = 0; r < target.numel(); ++r) {
    const bool kept = classes[r] != ignore_index;
    const Compute loss = kept ? log_sum[r] - target_logit[r] : Compute(0);
    rows.kept += kept;
    sums[r % 4] += loss;
    if (losses != nullptr) losses[r] = S(loss);
  }
  rows.sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  return rows;
}

template <class Compute>
Tensor shares(const Tensor& target, int64_t ignore_index, double share, at::ScalarType dtype) {
  Tensor result = at::empty(target.sizes(), target.options().dtype(dtype));
  const int64_t* classes = target.const_data_ptr<int64_t>();
  Compute* of_row = result.mutable_data_ptr<Compute>();
  for (int64_t r = 0; r < target.numel(); ++r)
    of_row[r] = classes[r] == ignore_index ? Compute(0) : Compute(share);
  return result;
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& target, int64_t ignore_index,
                     Reduction reduction) {
  if (!fits(logits, target, ignore_index)) return {};
  const auto dtype = logits.scalar_type(), compute = at::toOpMathType(dtype);
  const bool as_they_are = target.scalar_type() == at::kLong && target.is_contiguous();
  const Tensor classes = as_they_are ? target : target.to(at::kLong).contiguous();
  const auto row = launch_on(logits).row_statistics(
      {logits, classes, {}, class_dim(logits), ignore_index, /*softcap=*/0.0},
      /*expected=*/false);
  Rows rows;
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, dtype, "cross_entropy", [&] {
    rows = rows_of<scalar_t>(row, classes, ignore_index, dtype, reduction);
  });
  const double share = reduction == Reduction::Mean ? 1.0 / double(rows.kept) : 1.0;
  Tensor result = rows.losses;
  if (!result.defined()) {
    const double sum = reduction == Reduction::Mean ? rows.sum / double(rows.kept) : rows.sum;
    result = at::detail::empty_cpu({}, dtype, /*pin_memory=*/false, std::nullopt);
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, dtype, "cross_entropy",
                                    [&] { *result.mutable_data_ptr<scalar_t>() = scalar_t(sum); });
  }
  if (torch::autograd::compute_requires_grad(logits)) {
    auto node = make_node<CrossEntropyNode>();
    node->set_next_edges(torch::autograd::collect_next_edges(logits));
    node->parameters = {double(ignore_index)};
    const Tensor of_rows = compute == at::kDouble
                               ? shares<double>(classes, ignore_index, share, compute)
                               : shares<float>(classes, ignore_index, share, compute);
    const std::array saved = {logits, classes, of_rows, row.maximum, row.log_sum};
    for (std::size_t i = 0; i < saved.size(); ++i)
      node->saved[i] = SavedVariable(saved[i], /*is_output=*/false);
    torch::autograd::set_history(result, node);
  }
  return result;
}

}  // namespace activations_ext
