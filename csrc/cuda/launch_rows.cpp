// Rows of classes on CUDA. After a target that is not a class the kernels go on (a device assertion
// would make the device unusable for the process), and a later call raises the error.
#include <ATen/core/Reduction.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGraphsC10Utils.h>

#include <atomic>

#include "../device/as_rows.h"
#include "cuda_launchers.h"

namespace activations_ext::cuda {
namespace {

// Pinned memory, which the kernels of every device write to (Target::report). It lives as long as
// the process: captured graphs know its address.
int64_t* report() {
  static const at::Tensor* const memory = [] {
    // The first call may be captured by a graph; memory is allocated nevertheless.
    const c10::cuda::CUDAStreamCaptureModeGuard relaxed(cudaStreamCaptureModeRelaxed);
    const auto options = at::TensorOptions().dtype(at::kLong).pinned_memory(true);
    return new at::Tensor(at::empty({1}, options).fill_(0));
  }();
  return memory->mutable_data_ptr<int64_t>();
}

void raise_if_reported() {
  const int64_t found = std::atomic_ref(*report()).exchange(0);
  TORCH_CHECK_INDEX(found == 0,
                    "cross_entropy(): expected argument 'target' to have classes or the "
                    "ignore_index, but got ",
                    int32_t(found & 0xffffffff), " in row ", (found >> 32) - 1,
                    " of this call or one before: nothing waits for the GPU unless "
                    "check_targets=True");
}

at::Tensor contiguous_output(const at::Tensor& like) {
  return at::empty_like(like, at::MemoryFormat::Contiguous);
}

const SoftmaxKernels& softmax_kernels(at::ScalarType dtype, bool logarithm) {
  const auto& table = logarithm ? row_kernels().log_softmax : row_kernels().softmax;
  return table[int(number_of(dtype))];
}

const StatisticsKernels& statistics_kernels(const at::Tensor& logits) {
  return row_kernels().statistics[int(number_of(logits.scalar_type()))];
}

}  // namespace

at::Tensor CudaLaunchers::softmax(const at::Tensor& input, int64_t dim, bool logarithm) const {
  const at::Tensor out = contiguous_output(input);
  if (input.numel() == 0) return out;
  const AsRows rows({input, out}, dim);
  const Queue queue(input);
  softmax_kernels(input.scalar_type(), logarithm)
      .forward(rows.shape, rows.matrix(0), rows.matrix<void*>(1), queue);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return out;
}

at::Tensor CudaLaunchers::softmax_backward(const at::Tensor& grad_output, const at::Tensor& result,
                                           int64_t dim, bool logarithm) const {
  const at::Tensor out = contiguous_output(result);
  if (out.numel() == 0) return out;
  const AsRows rows({grad_output, result, out}, dim);
  const Queue queue(result);
  softmax_kernels(out.scalar_type(), logarithm)
      .backward(rows.shape, rows.matrix(0), rows.matrix(1), rows.matrix<void*>(2), queue);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return out;
}

RowStatisticsTensors CudaLaunchers::row_statistics(const RowsOfLogits& of, Wanted wanted) const {
  raise_if_reported();
  StatisticsJob job(of, {}, wanted.expected, /*padding=*/0);
  RowStatisticsTensors row = job.empty_results(/*argmax=*/false);
  if (wanted.argmax) row.argmax = at::argmax(of.logits, of.dim);
  if (job.rows.shape.rows == 0) return row;
  const at::Tensor partial =
      at::empty({partial_bytes(job.rows.shape)}, of.logits.options().dtype(at::kByte));
  const Queue queue(of.logits);
  statistics_kernels(of.logits).forward(job.rows, job.results(row), report(),
                                        partial.mutable_data_ptr(), queue);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return row;
}

namespace {

// The gradient by the logits, which `overwrite` writes over them.
template <class Describe>
at::Tensor gradient_of_rows(const RowsOfLogits& of, bool overwrite, Describe describe) {
  raise_if_reported();
  at::Tensor out = overwrite ? of.logits : at::empty_like(of.logits);
  if (out.numel() == 0) return out;
  StatisticsJob job(of, out, /*expected=*/true, /*padding=*/0);
  const StatisticsGradient gradient = describe(job);
  {
    const Queue queue(of.logits);
    statistics_kernels(of.logits).backward(job.rows, gradient, queue);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
  const at::Tensor& written = job.as_rows.tensors.back();
  return written.is_same(out) ? out : out.copy_(written);
}

}  // namespace

at::Tensor CudaLaunchers::row_statistics_backward(const RowsOfLogits& of,
                                                  const RowStatisticsTensors& row,
                                                  const RowStatisticsTensors& grad,
                                                  bool overwrite) const {
  return gradient_of_rows(
      of, overwrite, [&](StatisticsJob& job) { return job.gradient(row, grad, /*stream=*/false); });
}

CrossEntropyTensors CudaLaunchers::cross_entropy(const RowsOfLogits& of, int64_t reduction) const {
  CrossEntropyTensors result;
  result.row = row_statistics(of, {});
  const bool of_rows = reduction == at::Reduction::None;
  const auto& options = of.logits.options();
  result.loss = at::empty(of_rows ? of.target.sizes() : at::IntArrayRef(), options);
  result.share = at::empty({}, result.row.log_sum.options());
  const at::Tensor partial = at::empty({kLossPartialBytes}, options.dtype(at::kByte));
  const CrossEntropyJob job = {.log_sum = result.row.log_sum.const_data_ptr(),
                               .target_logit = result.row.target_logit.const_data_ptr(),
                               .target = of.target.const_data_ptr<int64_t>(),
                               .rows = of.target.numel(),
                               .ignore_index = of.ignore_index,
                               .loss = result.loss.mutable_data_ptr(),
                               .share = result.share.mutable_data_ptr(),
                               .of_rows = of_rows,
                               .mean = reduction == at::Reduction::Mean};
  const Queue queue(of.logits);
  row_kernels().cross_entropy[int(number_of(of.logits.scalar_type()))](
      job, partial.mutable_data_ptr(), queue);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return result;
}

at::Tensor CudaLaunchers::cross_entropy_backward(const at::Tensor& grad_output,
                                                 const at::Tensor& share, const RowsOfLogits& of,
                                                 const RowStatisticsTensors& row) const {
  return gradient_of_rows(of, /*overwrite=*/false, [&](StatisticsJob& job) {
    StatisticsGradient gradient = job.gradient(row, {}, /*stream=*/false);
    gradient.of_loss = readable(grad_output);
    gradient.share = readable(share);
    gradient.step = grad_output.dim() == 0 ? 0 : 1;
    return gradient;
  });
}

void CudaLaunchers::check_targets(c10::Device device) const {
  c10::cuda::getCurrentCUDAStream(device.index()).synchronize();
  raise_if_reported();
}

}  // namespace activations_ext::cuda
