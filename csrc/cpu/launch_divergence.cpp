// How rows of two matrices are shared between threads.
#include <ATen/OpMathType.h>
#include <ATen/ops/empty.h>

#include "../device/as_rows.h"
#include "cpu_launchers.h"
#include "share_rows.h"

namespace activations_ext::cpu {
namespace {

DivergenceRows job_of(const AsRows& rows, const Divergence& of, const at::Tensor& statistics) {
  return {rows.shape, rows.matrix(0), rows.matrix(1),       of.kind,
          of.beta,    of.scale,       statistics.data_ptr()};
}

const DivergenceKernels& kernels_of(const Divergence& of) {
  return kernels().divergence[int(number_of(of.logits.scalar_type()))];
}

}  // namespace

std::pair<at::Tensor, at::Tensor> CpuLaunchers::divergence(const Divergence& of) const {
  c10::DimVector sizes(of.logits.sizes());
  sizes.erase(sizes.begin() + of.dim);
  const auto options = of.logits.options().dtype(at::toOpMathType(of.logits.scalar_type()));
  const at::Tensor value = at::empty(sizes, options);
  sizes.insert(sizes.begin(), kDivergenceStatistics);
  const at::Tensor statistics = at::empty(sizes, options);
  const AsRows rows({of.logits, of.teacher}, of.dim);
  const DivergenceRows job = job_of(rows, of, statistics);
  const auto kernel = kernels_of(of).forward;
  void* const to = value.mutable_data_ptr();
  for_rows(rows.shape, [&](int64_t begin, int64_t end) { kernel(job, to, begin, end); });
  return {value, statistics};
}

at::Tensor CpuLaunchers::divergence_backward(const at::Tensor& grad, const Divergence& of,
                                             const at::Tensor& statistics, bool overwrite) const {
  const at::Tensor out = overwrite ? of.logits : empty_output(of.logits, {});
  if (out.numel() == 0) return out;
  const at::Tensor dense = grad.contiguous(), kept = statistics.contiguous();
  const AsRows rows({of.logits, of.teacher, out}, of.dim);
  const DivergenceRows job = job_of(rows, of, kept);
  const auto kernel = kernels_of(of).backward;
  const void* const of_rows = dense.const_data_ptr();
  const bool stream = !overwrite && is_large(out);
  for_rows(rows.shape, [&](int64_t begin, int64_t end) {
    kernel(job, of_rows, rows.matrix<void*>(2), stream, begin, end);
  });
  const at::Tensor& written = rows.tensors.back();
  return written.is_same(out) ? out : out.copy_(written);
}

}  // namespace activations_ext::cpu
