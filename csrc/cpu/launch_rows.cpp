// Where the rows are in memory, and how they are shared between threads.

#include <ATen/EmptyTensor.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <vector>

#include "../checks.h"
#include "launch.h"

namespace activations_ext::cpu {
namespace {

constexpr int64_t kGrain = 16 * 1024;  // elements that are worth another thread

// Tensors of one shape as matrices of rows × classes. The rows count in the order of the indices
// without `dim`; memory where that takes more than two strides is copied first.
struct AsRows {
  RowShape shape;
  std::vector<at::Tensor> tensors;
  std::vector<RowLayout> layouts;

  AsRows(std::vector<at::Tensor> of, int64_t dim) : tensors(std::move(of)) {
    if (describe(dim)) return;
    for (at::Tensor& tensor : tensors) tensor = tensor.contiguous();
    TORCH_INTERNAL_ASSERT(describe(dim));
  }

  template <class Pointer = const void*>
  Matrix<Pointer> matrix(std::size_t i) const {
    if constexpr (std::is_same_v<Pointer, void*>)
      return {tensors[i].mutable_data_ptr(), layouts[i]};
    else
      return {tensors[i].const_data_ptr(), layouts[i]};
  }

 private:
  bool describe(int64_t dim) {
    const at::Tensor& model = tensors[0];
    struct Level {
      int64_t size;
      std::vector<int64_t> strides;
    };
    std::vector<Level> levels;  // from the innermost
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
    levels.resize(2, {1, std::vector<int64_t>(tensors.size())});
    const bool scalar = model.dim() == 0;
    shape = {levels[0].size * levels[1].size, levels[0].size, scalar ? 1 : model.size(dim)};
    layouts.clear();
    for (std::size_t i = 0; i < tensors.size(); ++i)
      layouts.push_back(
          {levels[1].strides[i], levels[0].strides[i], scalar ? 1 : tensors[i].stride(dim)});
    return true;
  }
};

template <class Work>
void for_rows(const RowShape& shape, Work work) {
  // Whole vectors of rows, though nothing depends on it but the time.
  constexpr int64_t kTogether = kMaxLanes;
  const int64_t rows_worth = kGrain / std::max<int64_t>(1, shape.classes) + 1;
  if (shape.classes > kFewClasses) return at::parallel_for(0, shape.rows, rows_worth, work);
  const int64_t groups = (shape.rows + kTogether - 1) / kTogether;
  at::parallel_for(0, groups, (rows_worth + kTogether - 1) / kTogether,
                   [&](int64_t begin, int64_t end) {
                     work(begin * kTogether, std::min(end * kTogether, shape.rows));
                   });
}

at::Tensor contiguous_output(const at::Tensor& like) {
  if (like.is_contiguous()) return empty_output(like, {});
  return at::empty_like(like, at::MemoryFormat::Contiguous);
}

const SoftmaxKernels& softmax_kernels(at::ScalarType dtype, bool logarithm) {
  const auto& table = logarithm ? kernels().log_softmax : kernels().softmax;
  return table[int(number_of(dtype))];
}

// In the type that computes, with what the kernels may read beyond the end.
at::Tensor padded(const at::Tensor& weight, at::ScalarType dtype) {
  at::Tensor result = at::zeros({weight.numel() + kMaxLanes}, weight.options().dtype(dtype));
  result.narrow(0, 0, weight.numel()).copy_(weight);
  return result;
}

// A job of the kernels and what its pointers point to.
struct StatisticsJob {
  AsRows as_rows;
  at::Tensor target, class_weights;
  bool out_of_range = false;
  StatisticsRows rows;

  // `more` is an output, or undefined.
  StatisticsJob(const RowsOfLogits& of, const at::Tensor& more, bool expected)
      : as_rows(matrices(of, more), of.dim) {
    if (of.target.defined()) target = of.target.contiguous();
    const bool of_logit = weight_of_logit(of);
    if (of.weight.defined() && !of_logit)
      class_weights = padded(of.weight, at::toOpMathType(of.logits.scalar_type()));
    rows = {.shape = as_rows.shape,
            .logits = as_rows.matrix(0),
            .weights = of_logit ? as_rows.matrix(1) : Matrix<const void*>{},
            .target = target.defined() ? target.const_data_ptr<int64_t>() : nullptr,
            .class_weights = class_weights.defined() ? class_weights.const_data_ptr() : nullptr,
            .ignore_index = of.ignore_index,
            .softcap = of.softcap,
            .expected = expected,
            .out_of_range = &out_of_range};
  }

  static bool weight_of_logit(const RowsOfLogits& of) {
    return of.weight.defined() && of.weight.dim() == of.logits.dim() && of.logits.dim() != 1;
  }
  static std::vector<at::Tensor> matrices(const RowsOfLogits& of, const at::Tensor& more) {
    std::vector<at::Tensor> result = {of.logits};
    if (weight_of_logit(of)) result.push_back(of.weight);
    if (more.defined()) result.push_back(more);
    return result;
  }
  // work(begin, end) on all rows.
  template <class Work>
  void run(Work work) {
    for_rows(rows.shape, work);
    if (!out_of_range) return;
    for (int64_t row = 0; row < target.numel(); ++row) {
      const int64_t asked = rows.target[row];
      if (asked != rows.ignore_index && (asked < 0 || asked >= rows.shape.classes))
        fail_target(target, row, rows.shape.classes, rows.ignore_index);
    }
  }
  const StatisticsKernels& kernels() const {
    return cpu::kernels().statistics[int(number_of(as_rows.tensors[0].scalar_type()))];
  }
};

}  // namespace

at::Tensor CpuLaunchers::softmax(const at::Tensor& input, int64_t dim, bool logarithm) const {
  const at::Tensor out = contiguous_output(input);
  if (input.numel() == 0) return out;
  const AsRows rows({input, out}, dim);
  const auto kernel = softmax_kernels(input.scalar_type(), logarithm).forward;
  for_rows(rows.shape, [&](int64_t begin, int64_t end) {
    kernel(rows.shape, rows.matrix(0), rows.matrix<void*>(1), is_large(out), begin, end);
  });
  return out;
}

at::Tensor CpuLaunchers::softmax_gradient(const at::Tensor& grad_output, const at::Tensor& result,
                                          int64_t dim, bool logarithm) const {
  const at::Tensor out = contiguous_output(result);
  if (out.numel() == 0) return out;
  const AsRows rows({grad_output, result, out}, dim);
  const auto kernel = softmax_kernels(out.scalar_type(), logarithm).backward;
  for_rows(rows.shape, [&](int64_t begin, int64_t end) {
    kernel(rows.shape, rows.matrix(0), rows.matrix(1), rows.matrix<void*>(2), is_large(out), begin,
           end);
  });
  return out;
}

RowStatisticsTensors CpuLaunchers::row_statistics(const RowsOfLogits& of, bool expected) const {
  StatisticsJob job(of, {}, expected);
  c10::DimVector sizes(of.logits.sizes());
  if (!sizes.empty()) sizes.erase(sizes.begin() + of.dim);
  const auto numbers = [&] {
    return at::detail::empty_cpu(sizes, at::toOpMathType(of.logits.scalar_type()),
                                 /*pin_memory=*/false, std::nullopt);
  };
  RowStatisticsTensors row = {numbers(), numbers(), {}, {}, {}};
  if (of.target.defined()) row.target_logit = numbers();
  if (of.weight.defined()) row.weighted_sum = numbers();
  if (expected) row.expected_logit = numbers();
  const auto memory = [](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.mutable_data_ptr() : nullptr;
  };
  const StatisticsResults results = {memory(row.maximum), memory(row.log_sum),
                                     memory(row.target_logit), memory(row.weighted_sum),
                                     memory(row.expected_logit)};
  const auto kernel = job.kernels().forward;
  job.run([&](int64_t begin, int64_t end) { kernel(job.rows, results, begin, end); });
  return row;
}

at::Tensor CpuLaunchers::row_statistics_gradient(const RowsOfLogits& of,
                                                 const RowStatisticsTensors& row,
                                                 const RowStatisticsTensors& grad,
                                                 bool overwrite) const {
  at::Tensor out = overwrite ? of.logits : empty_output(of.logits, {});
  if (out.numel() == 0) return out;
  StatisticsJob job(of, out, /*expected=*/true);
  std::vector<at::Tensor> alive;  // what the kernels read of
  const auto dense = [&](const at::Tensor& numbers) -> const void* {
    if (!numbers.defined()) return nullptr;
    alive.push_back(numbers.contiguous());
    return alive.back().const_data_ptr();
  };
  const StatisticsGradient gradient = {
      .maximum = dense(row.maximum),
      .log_sum = dense(row.log_sum),
      .expected_logit = dense(row.expected_logit),
      .grad_log_sum = dense(grad.log_sum),
      .grad_target_logit = dense(grad.target_logit),
      .grad_weighted_sum = dense(grad.weighted_sum),
      .grad_expected_logit = dense(grad.expected_logit),
      .out = job.as_rows.matrix<void*>(job.as_rows.tensors.size() - 1),
      .stream = !overwrite && is_large(out)};
  const auto kernel = job.kernels().backward;
  job.run([&](int64_t begin, int64_t end) { kernel(job.rows, gradient, begin, end); });
  const at::Tensor& written = job.as_rows.tensors.back();
  return written.is_same(out) ? out : out.copy_(written);
}

}  // namespace activations_ext::cpu
