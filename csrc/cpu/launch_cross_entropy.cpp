// From the statistics of rows to their cross-entropy and back. At 128 × 10 the calls in between
// take all the time, so this uses none of torch's operators.
#include <ATen/Dispatch.h>
#include <ATen/EmptyTensor.h>
#include <ATen/OpMathType.h>
#include <ATen/core/Reduction.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <array>
#include <vector>

#include "cpu_launchers.h"
#include "share.h"

namespace activations_ext::cpu {
namespace {

at::Tensor number(double value, at::ScalarType dtype) {
  const at::Tensor result = at::detail::empty_cpu({}, dtype, /*pin_memory=*/false, std::nullopt);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, dtype, "cross_entropy",
                                  [&] { *result.mutable_data_ptr<scalar_t>() = scalar_t(value); });
  return result;
}

struct Losses {
  double sum = 0.0;
  int64_t kept = 0;  // rows that are not ignored
};

// The sum of the losses of the rows [begin, end), each of which is written to `losses` unless that
// is nullptr.
template <class S, class Compute = at::opmath_type<S>>
Losses losses_of(const RowsOfLogits& of, const RowStatisticsTensors& row, S* losses, int64_t begin,
                 int64_t end) {
  const int64_t* classes = of.target.const_data_ptr<int64_t>();
  const Compute* log_sum = row.log_sum.const_data_ptr<Compute>();
  const Compute* target_logit = row.target_logit.const_data_ptr<Compute>();
  Losses result;
  std::array<double, 4> sums = {};  // hides the latency of an addition
  for (int64_t r = begin; r < end; ++r) {
    const bool kept = classes[r] != of.ignore_index;
    const Compute loss = kept ? log_sum[r] - target_logit[r] : Compute(0);
    result.kept += kept;
    sums[r % 4] += loss;
    if (losses != nullptr) losses[r] = S(loss);
  }
  result.sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  return result;
}

// For all rows. Blocks are summed in order, so that the result does not depend on the number of
// threads.
template <class S>
Losses losses_of(const RowsOfLogits& of, const RowStatisticsTensors& row, S* losses) {
  const int64_t rows = of.target.numel();
  if (rows <= kElementBlock) return losses_of(of, row, losses, 0, rows);
  std::vector<Losses> blocks((rows + kElementBlock - 1) / kElementBlock);
  share(rows, kElementBlock, worth::kElements, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r += kElementBlock)
      blocks[r / kElementBlock] = losses_of(of, row, losses, r, std::min(r + kElementBlock, end));
  });
  Losses all;
  for (const auto& [sum, kept] : blocks) all = {all.sum + sum, all.kept + kept};
  return all;
}

// grad_output · share of each row, and its negative.
template <class S, class Compute = at::opmath_type<S>>
RowStatisticsTensors gradients_of_rows(const at::Tensor& grad_output, const at::Tensor& share,
                                       const RowsOfLogits& of, const at::Tensor& like) {
  RowStatisticsTensors grad;
  grad.log_sum = at::empty_like(like, at::MemoryFormat::Contiguous);
  grad.target_logit = at::empty_like(grad.log_sum);
  const int64_t* classes = of.target.const_data_ptr<int64_t>();
  const auto* of_row = static_cast<const S*>(readable(grad_output));
  const Compute factor = *static_cast<const Compute*>(readable(share));
  Compute *up = grad.log_sum.mutable_data_ptr<Compute>(),
          *down = grad.target_logit.mutable_data_ptr<Compute>();
  const int64_t step = grad_output.dim() == 0 ? 0 : 1;
  cpu::share(like.numel(), kElementBlock, worth::kElements, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      up[r] = classes[r] == of.ignore_index ? Compute(0) : factor * Compute(of_row[r * step]);
      down[r] = -up[r];
    }
  });
  return grad;
}

}  // namespace

CrossEntropyTensors CpuLaunchers::cross_entropy(const RowsOfLogits& of, int64_t reduction) const {
  const auto dtype = of.logits.scalar_type(), compute = at::toOpMathType(dtype);
  CrossEntropyTensors result;
  result.row = row_statistics(of, {});
  if (reduction == at::Reduction::None)
    result.loss = at::empty(of.target.sizes(), of.logits.options());
  Losses losses;
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, dtype, "cross_entropy", [&] {
    scalar_t* const each =
        result.loss.defined() ? result.loss.mutable_data_ptr<scalar_t>() : nullptr;
    losses = losses_of<scalar_t>(of, result.row, each);
  });
  const double count = reduction == at::Reduction::Mean ? double(losses.kept) : 1.0;
  if (!result.loss.defined()) result.loss = number(losses.sum / count, dtype);
  result.share = number(1.0 / count, compute);
  return result;
}

at::Tensor CpuLaunchers::cross_entropy_backward(const at::Tensor& grad_output,
                                                const at::Tensor& share, const RowsOfLogits& of,
                                                const RowStatisticsTensors& row) const {
  RowStatisticsTensors grad;
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kBFloat16, at::kHalf, of.logits.scalar_type(), "cross_entropy_backward",
      [&] { grad = gradients_of_rows<scalar_t>(grad_output, share, of, row.log_sum); });
  return row_statistics_backward(of, row, grad, /*overwrite=*/false);
}

}  // namespace activations_ext::cpu
