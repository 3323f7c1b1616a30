// The usual cross-entropy in one call, without the overhead of Python and the dispatcher at each
// step: at 128 × 10 that overhead is all the time there is. The pass over the logits and the
// gradient are row_statistics'.
#include "cross_entropy.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <ATen/core/grad_mode.h>

#include "../autograd/node.h"
#include "../autograd/plain.h"
#include "../device/checks.h"
#include "../device/launchers.h"
#include "../device/layout.h"
#include "statistics_ops.h"

namespace activations_ext {
namespace {

using at::Tensor;
using at::Reduction::Reduction;

int64_t class_dim(const Tensor& logits) { return logits.dim() == 1 ? 0 : 1; }

// `share` is what `cross_entropy` below saved, and not something else that a hook unpacked.
bool is_share_of(const Tensor& logits, const Tensor& share) {
  return is_plain(logits) && is_plain(share) && share.device() == logits.device() &&
         share.dim() == 0 && share.scalar_type() == at::toOpMathType(logits.scalar_type());
}

struct CrossEntropyBackward {
  struct Saved {
    Tensor logits, target, share, maximum, log_sum;  // see CrossEntropyTensors
    int64_t ignore_index;
    auto members() { return std::tie(logits, target, share, maximum, log_sum, ignore_index); }
  };
  static constexpr std::size_t kInputs = 1;
  static std::string title() { return "CrossEntropyLossBackward"; }

  static variable_list gradients(variable_list grads, const Saved& of, const Needed<1>&) {
    const Tensor& grad_output = grads[0];
    const auto& [logits, target, share, maximum, log_sum, ignore_index] = of;
    const int64_t dim = class_dim(logits);
    const RowArguments rows = {logits,       dim,       target, {}, {}, /*smoothing=*/0.0,
                               ignore_index, LogitMap()};
    TORCH_CHECK(
        grad_output.dim() == 0 || grad_output.sym_sizes() == target.sym_sizes(),
        "cross_entropy_backward(): expected argument 'grad_output' to have no dimensions or "
        "the shape of the rows, ",
        target.sym_sizes(), ", but got ", grad_output.sym_sizes());
    if (at::GradMode::is_enabled() || !nothing_intercepts() || !is_plain(grad_output) ||
        !is_share_of(logits, share) || grad_output.device() != logits.device() ||
        grad_output.scalar_type() != logits.scalar_type()) {
      const Tensor up = share * grad_output.to(share.scalar_type());
      const Tensor grad = at::where(target == ignore_index, 0, up);
      return {row_statistics_backward(
          {grad, -grad, {}, {}, rows, maximum, log_sum, /*expected_logit=*/{}})};
    }
    check_saved_rows(rows, maximum, log_sum);
    at::AutoDispatchBelowADInplaceOrView below;
    RowStatisticsTensors row;
    row.maximum = maximum, row.log_sum = log_sum;
    return {launch_on(logits).cross_entropy_backward(
        grad_output.contiguous(), share,
        {logits, target.contiguous(), {}, dim, ignore_index, LogitMap()}, row)};
  }
};

const bool named = name_nodes<CrossEntropyBackward>();

bool fits(const Tensor& logits, const Tensor& target, int64_t ignore_index) {
  const auto classes = target.scalar_type();
  return nothing_intercepts() && is_plain(logits) && target.device() == logits.device() &&
         is_plain_memory(target) &&
         (classes == at::kLong || classes == at::kInt || classes == at::kByte) &&
         !torch::autograd::isFwGradDefined(logits) && logits.dim() > 0 &&
         logits.size(class_dim(logits)) > 0 &&
         one_for_each_row(target, logits, class_dim(logits)) &&
         int64_t(double(ignore_index)) == ignore_index;
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& target, int64_t ignore_index,
                     Reduction reduction) {
  if (!fits(logits, target, ignore_index)) return {};
  const bool as_they_are = target.scalar_type() == at::kLong && target.is_contiguous();
  const Tensor classes = as_they_are ? target : target.to(at::kLong).contiguous();
  RowsOfLogits rows = {logits, classes, {}, class_dim(logits), ignore_index, LogitMap()};
  rows.skip_ignored = true;
  CrossEntropyTensors result = launch_on(logits).cross_entropy(rows, reduction);
  if (torch::autograd::compute_requires_grad(logits)) {
    auto node = make_node<GraphNode<CrossEntropyBackward>>();
    node->set_next_edges(torch::autograd::collect_next_edges(logits));
    torch::autograd::set_history(result.loss, node);
    node->remember(
        {logits, classes, result.share, result.row.maximum, result.row.log_sum, ignore_index});
  }
  return result.loss;
}

}  // namespace activations_ext
