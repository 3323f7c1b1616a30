// How rows of classes are shared between threads.

#include <ATen/ops/empty_like.h>

#include <algorithm>

#include "../device/as_rows.h"
#include "../device/checks.h"
#include "cpu_launchers.h"
#include "long_rows.h"
#include "share_rows.h"

namespace activations_ext::cpu {
namespace {

at::Tensor contiguous_output(const at::Tensor& like) {
  if (like.is_contiguous()) return empty_output(like, {});
  return at::empty_like(like, at::MemoryFormat::Contiguous);
}

const SoftmaxKernels& softmax_kernels(at::ScalarType dtype, bool logarithm) {
  const auto& table = logarithm ? kernels().log_softmax : kernels().softmax;
  return table[int(number_of(dtype))];
}

struct CpuStatistics : StatisticsJob {
  bool out_of_range = false;

  CpuStatistics(const RowsOfLogits& of, const at::Tensor& more, bool expected)
      : StatisticsJob(of, more, expected, /*padding=*/kMaxLanes) {
    rows.out_of_range = &out_of_range;
  }
  // work(begin, end) on all rows.
  template <class Work>
  void run(Work work) {
    for_rows(rows.shape, work);
    if (out_of_range) check_classes(target, rows.shape.classes, rows.ignore_index);
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
  const auto& [kernel, backward, segments] = softmax_kernels(input.scalar_type(), logarithm);
  if (const LongRows few = {rows}; few.apply()) {
    few.softmax(segments);
    return out;
  }
  for_rows(rows.shape, [&](int64_t begin, int64_t end) {
    kernel(rows.shape, rows.matrix(0), rows.matrix<void*>(1), is_large(out), begin, end);
  });
  return out;
}

at::Tensor CpuLaunchers::softmax_backward(const at::Tensor& grad_output, const at::Tensor& result,
                                          int64_t dim, bool logarithm) const {
  const at::Tensor out = contiguous_output(result);
  if (out.numel() == 0) return out;
  const AsRows rows({grad_output, result, out}, dim);
  const auto& [forward, kernel, segments] = softmax_kernels(out.scalar_type(), logarithm);
  if (const LongRows few = {rows}; few.apply()) {
    few.softmax_backward(segments);
    return out;
  }
  for_rows(rows.shape, [&](int64_t begin, int64_t end) {
    kernel(rows.shape, rows.matrix(0), rows.matrix(1), rows.matrix<void*>(2), is_large(out), begin,
           end);
  });
  return out;
}

RowStatisticsTensors CpuLaunchers::row_statistics(const RowsOfLogits& of, Wanted wanted) const {
  CpuStatistics job(of, {}, wanted.expected);
  const RowStatisticsTensors row = job.empty_results(wanted.argmax);
  const StatisticsResults results = job.results(row);
  const auto kernel = job.kernels().forward;
  job.run([&](int64_t begin, int64_t end) { kernel(job.rows, results, begin, end); });
  return row;
}

at::Tensor CpuLaunchers::row_statistics_backward(const RowsOfLogits& of,
                                                 const RowStatisticsTensors& row,
                                                 const RowStatisticsTensors& grad,
                                                 bool overwrite) const {
  at::Tensor out = overwrite ? of.logits : empty_output(of.logits, {});
  if (out.numel() == 0) return out;
  CpuStatistics job(of, out, /*expected=*/true);
  const StatisticsGradient gradient = job.gradient(row, grad, !overwrite && is_large(out));
  const auto kernel = job.kernels().backward;
  job.run([&](int64_t begin, int64_t end) { kernel(job.rows, gradient, begin, end); });
  const at::Tensor& written = job.as_rows.tensors.back();
  return written.is_same(out) ? out : out.copy_(written);
}

}  // namespace activations_ext::cpu
