#include "as_rows.h"

#include <ATen/EmptyTensor.h>
#include <ATen/OpMathType.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace activations_ext {

AsRows::AsRows(Few<at::Tensor> of, int64_t dim) : tensors(std::move(of)) {
  if (describe(dim)) return;
  for (at::Tensor& tensor : tensors) {
    check_storage(tensor);
    tensor = tensor.contiguous();
  }
  TORCH_INTERNAL_ASSERT(describe(dim));
}

bool AsRows::describe(int64_t dim) {
  const at::Tensor& model = tensors[0];
  if (model.numel() == 0) {  // its strides say nothing
    const int64_t classes = model.size(dim);
    int64_t rows = 1;
    for (int64_t d = 0; d < model.dim(); ++d) rows *= d == dim ? 1 : model.size(d);
    shape = {rows, std::max<int64_t>(rows, 1), classes};
    layouts.assign(tensors.size(), RowLayout{0, 0, 0});
    return true;
  }
  struct Level {
    int64_t size;
    Few<int64_t> strides;
  };
  Few<Level> levels;  // from the innermost
  for (int64_t d = model.dim() - 1; d >= 0; --d) {
    if (d == dim || model.size(d) == 1) continue;
    Level level = {model.size(d), {}};
    for (const at::Tensor& tensor : tensors) level.strides.push_back(tensor.stride(d));
    bool merges = !levels.empty();
    for (std::size_t i = 0; merges && i < tensors.size(); ++i)
      merges = level.strides[i] == levels.back().strides[i] * levels.back().size;
    if (merges) {
      levels.back().size *= level.size;
    } else {
      levels.push_back(std::move(level));
    }
  }
  if (levels.size() > 2) return false;
  levels.resize(2, {1, Few<int64_t>(tensors.size(), 0)});
  const bool scalar = model.dim() == 0;
  shape = {levels[0].size * levels[1].size, levels[0].size, scalar ? 1 : model.size(dim)};
  layouts.clear();
  for (std::size_t i = 0; i < tensors.size(); ++i)
    layouts.push_back(
        {levels[1].strides[i], levels[0].strides[i], scalar ? 1 : tensors[i].stride(dim)});
  return true;
}

namespace {

// A weight of one dimension beside logits of one is the class', unless it is a target.
bool weight_of_logit(const RowsOfLogits& of) {
  if (!of.weight.defined() || of.weight.dim() != of.logits.dim()) return false;
  return of.logits.dim() != 1 || of.class_weight.defined() || of.smoothing != 0;
}

AsRows::Few<at::Tensor> matrices(const RowsOfLogits& of, const at::Tensor& more) {
  AsRows::Few<at::Tensor> result = {of.logits};
  if (weight_of_logit(of)) result.push_back(of.weight);
  if (more.defined()) result.push_back(more);
  return result;
}

at::Tensor padded(const at::Tensor& weight, at::ScalarType dtype, int64_t padding) {
  check_storage(weight);
  if (padding == 0) return weight.to(dtype).contiguous();
  at::Tensor result = at::zeros({weight.numel() + padding}, weight.options().dtype(dtype));
  result.narrow(0, 0, weight.numel()).copy_(weight);
  return result;
}

}  // namespace

StatisticsJob::StatisticsJob(const RowsOfLogits& of, const at::Tensor& more, bool expected,
                             int64_t padding)
    : as_rows(matrices(of, more), of.dim), weight_(of.weight), sizes_(of.logits.sizes()) {
  if (!sizes_.empty()) sizes_.erase(sizes_.begin() + of.dim);
  if (of.target.defined()) {
    check_storage(of.target);
    target = of.target.contiguous();
  }
  const bool of_logit = weight_of_logit(of);
  const at::Tensor& of_class = of_logit ? of.class_weight : of.weight;
  if (of_class.defined())
    class_weights = padded(of_class, at::toOpMathType(of.logits.scalar_type()), padding);
  rows = {.shape = as_rows.shape,
          .logits = as_rows.matrix(0),
          .weights = of_logit ? as_rows.matrix(1) : Matrix<const void*>{},
          .target = target.defined() ? target.const_data_ptr<int64_t>() : nullptr,
          .class_weights = class_weights.defined() ? class_weights.const_data_ptr() : nullptr,
          .smoothing = Smoothing::of(of.smoothing, as_rows.shape.classes),
          .ignore_index = of.ignore_index,
          .map = of.map,
          .expected = expected,
          .skip_ignored = of.skip_ignored,
          .out_of_range = nullptr};
}

RowStatisticsTensors StatisticsJob::empty_results(bool argmax) const {
  const at::Tensor& logits = as_rows.tensors[0];
  const auto empty = [&](bool wanted, at::ScalarType dtype) -> at::Tensor {
    if (!wanted) return {};
    // Not through the dispatcher where small rows are what takes the time.
    if (logits.is_cpu())
      return at::detail::empty_cpu(sizes_, dtype, /*pin_memory=*/false, std::nullopt);
    return at::empty(sizes_, logits.options().dtype(dtype));
  };
  const auto numbers = [&](bool wanted) {
    return empty(wanted, at::toOpMathType(logits.scalar_type()));
  };
  return {numbers(true),
          numbers(true),
          numbers(target.defined()),
          numbers(weight_.defined()),
          numbers(rows.expected),
          numbers(weight_.defined()),
          empty(argmax, at::kLong)};
}

StatisticsResults StatisticsJob::results(const RowStatisticsTensors& row) {
  const auto memory = [](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.mutable_data_ptr() : nullptr;
  };
  return {memory(row.maximum),
          memory(row.log_sum),
          memory(row.target_logit),
          memory(row.weighted_sum),
          memory(row.expected_logit),
          memory(row.mass),
          static_cast<int64_t*>(memory(row.argmax))};
}

StatisticsGradient StatisticsJob::gradient(const RowStatisticsTensors& row,
                                           const RowStatisticsTensors& grad, bool stream) {
  const auto dense = [&](const at::Tensor& numbers) -> const void* {
    if (!numbers.defined()) return nullptr;
    check_storage(numbers);
    alive_.push_back(numbers.contiguous());
    return alive_.back().const_data_ptr();
  };
  return {.maximum = dense(row.maximum),
          .log_sum = dense(row.log_sum),
          .expected_logit = dense(row.expected_logit),
          .grad_log_sum = dense(grad.log_sum),
          .grad_target_logit = dense(grad.target_logit),
          .grad_weighted_sum = dense(grad.weighted_sum),
          .grad_expected_logit = dense(grad.expected_logit),
          .out = as_rows.matrix<void*>(as_rows.tensors.size() - 1),
          .stream = stream};
}

}  // namespace activations_ext
