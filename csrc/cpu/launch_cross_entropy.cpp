// From the statistics of rows to their cross-entropy and back. At 128 × 10 the calls between are
// all the time there is: no operator of torch's is used.
#include <ATen/Dispatch.h>
#include <ATen/EmptyTensor.h>
#include <ATen/OpMathType.h>
#include <ATen/core/Reduction.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <array>

#include "cpu_launchers.h"

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

// The sum of the losses, each of which is written to `losses` unless that is nullptr.
template <class S, class Compute = at::opmath_type<S>>
Losses losses_of(const RowsOfLogits& of, const RowStatisticsTensors& row, S* losses) {
  const int64_t* classes = of.target.const_data_ptr<int64_t>();
  const Compute* log_sum = row.log_sum.const_data_ptr<Compute>();
  const Compute* target_logit = row.target_logit.const_data_ptr<Compute>();
  Losses result;
  std::array<double, 4> sums = {};  // an addition takes longer than the next row may wait
  for (int64_t r = 0; r < of.target.numel(); ++r) {
    const bool kept = classes[r] != of.ignore_index;
    const Compute loss = kept ? log_sum[r] - target_logit[r] : Compute(0);
    result.kept += kept;
    sums[r % 4] += loss;
    if (losses != nullptr) losses[r] = S(loss);
  }
  result.sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  return result;
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
  for (int64_t r = 0; r < like.numel(); ++r) {
    up[r] = classes[r] == of.ignore_index ? Compute(0) : factor * Compute(of_row[r * step]);
    down[r] = -up[r];
  }
  return grad;
}

}  // namespace

CrossEntropyTensors CpuLaunchers::cross_entropy(const RowsOfLogits& of, int64_t reduction) const {
  const auto dtype = of.logits.scalar_type(), compute = at::toOpMathType(dtype);
  CrossEntropyTensors result;
  result.row = row_statistics(of, /*expected=*/false);
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

at::Tensor CpuLaunchers::cross_entropy_gradient(const at::Tensor& grad_output,
                                                const at::Tensor& share, const RowsOfLogits& of,
                                                const RowStatisticsTensors& row) const {
  RowStatisticsTensors grad;
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kBFloat16, at::kHalf, of.logits.scalar_type(), "cross_entropy_backward",
      [&] { grad = gradients_of_rows<scalar_t>(grad_output, share, of, row.log_sum); });
  return row_statistics_gradient(of, row, grad, /*overwrite=*/false);
}

}  // namespace activations_ext::cpu
