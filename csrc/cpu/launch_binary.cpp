
#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>

#include <array>
#include <vector>

#include "cpu_launchers.h"

namespace activations_ext::cpu {
namespace {

constexpr int64_t kRange = 16 * 1024;  // elements whose losses are summed in float

// In the order of the kernels' operands; `out` and `grad_output` may be undefined.
at::TensorIterator iterator(const at::Tensor& out, const at::Tensor& grad_output,
                            const BinaryOperands& of) {
  at::TensorIteratorConfig config;
  config.check_all_same_dtype(true);
  if (out.defined()) config.add_output(out);
  for (const at::Tensor* tensor :
       {&grad_output, &of.logits, &of.target, &of.pos_weight, &of.weight}) {
    if (!tensor->defined()) continue;
    check_storage(*tensor);
    config.add_const_input(*tensor);
  }
  return config.build();
}

// out = kernel(operands), laid out like `like`.
template <class Kernel>
at::Tensor map(Kernel kernel, const at::Tensor& like, const at::Tensor& grad_output,
               const BinaryOperands& of) {
  at::Tensor out = empty_output(like, {});
  iterator(out, grad_output, of).for_each(kernel);
  return out;
}

const BinaryCrossEntropyKernels& kernels_of(const at::Tensor& logits) {
  return kernels().binary_cross_entropy[int(number_of(logits.scalar_type()))];
}

}  // namespace

at::Tensor CpuLaunchers::binary_losses(const BinaryOperands& of) const {
  return map(kernels_of(of.logits).losses, of.target, {}, of);
}

double CpuLaunchers::binary_sum(const BinaryOperands& of) const {
  at::TensorIterator all = iterator({}, {}, of);
  const int64_t count = all.numel(), ranges = (count + kRange - 1) / kRange;
  std::vector<double> sums(ranges, 0.0);
  const auto kernel = kernels_of(of.logits).sum;
  at::parallel_for(0, ranges, 1, [&](int64_t begin, int64_t end) {
    for (int64_t range = begin; range < end; ++range) {
      const auto rows = [&](char** data, const int64_t* strides, int64_t size, int64_t rows) {
        std::array<char*, 4> at = {data[0], data[1], data[2], data[3]};
        for (int64_t row = 0; row < rows; ++row) {
          sums[range] += kernel(at.data(), strides, size);
          for (std::size_t i = 0; i < at.size(); ++i) at[i] += strides[at.size() + i];
        }
      };
      all.serial_for_each(rows, {range * kRange, std::min(count, (range + 1) * kRange)});
    }
  });
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return total;
}

at::Tensor CpuLaunchers::binary_gradient(const at::Tensor& grad_output, double scale,
                                         const BinaryOperands& of) const {
  const auto kernel = kernels_of(of.logits).gradient;
  const auto scaled = [=](char** data, const int64_t* strides, int64_t count) {
    kernel(data, strides, count, scale);
  };
  return map(scaled, of.logits, grad_output, of);
}

}  // namespace activations_ext::cpu
