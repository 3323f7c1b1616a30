#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>

#include <numeric>
#include <vector>

#include "cpu_launchers.h"
#include "elementwise.h"

namespace activations_ext::cpu {
namespace {

const BinaryKernels& kernels_of(const BinaryTensors& of) {
  const int number = int(number_of(of.logits.scalar_type()));
  return of.gamma == 0 ? kernels().binary_cross_entropy[number]
                       : kernels().focal_binary_cross_entropy[number];
}

// With weights that are tensors.
BinaryTensors complete(const BinaryTensors& of) {
  const auto or_one = [&](const at::Tensor& weight) {
    return weight.defined() ? weight : at::ones({}, of.logits.options()).expand_as(of.logits);
  };
  return {of.logits, of.target, or_one(of.pos_weight), or_one(of.weight), of.gamma};
}

}  // namespace

at::Tensor CpuLaunchers::binary_losses(const BinaryTensors& tensors) const {
  const BinaryTensors of = complete(tensors);
  const at::Tensor out = empty_output(of.target, {});
  const BinaryOptions options = {of.gamma};
  run({kernels_of(of).losses, &options},
      {&out, &of.logits, &of.target, &of.pos_weight, &of.weight});
  return out;
}

at::Tensor CpuLaunchers::binary_sum(const BinaryTensors& tensors, double divisor) const {
  constexpr int64_t kRange = 16 * 1024;  // the same on any number of threads
  const BinaryTensors of = complete(tensors);
  const Operands operands = {&of.logits, &of.target, &of.pos_weight, &of.weight};
  for (const at::Tensor* tensor : operands) check_storage(*tensor);
  at::TensorIterator iterator = iterator_over(operands, /*outputs=*/0);
  const int64_t count = iterator.numel();
  std::vector<double> sums((count + kRange - 1) / kRange, 0.0);
  const BinaryOptions options = {of.gamma};
  const auto kernel = kernels_of(of).sum;
  share(int64_t(sums.size()), 1, 1, [&](int64_t begin, int64_t end) {
    ContiguousPieces pieces(iterator, /*outputs=*/0);
    for (int64_t range = begin; range < end; ++range) {
      const auto loop = [&](char** base, const int64_t* strides, int64_t size, int64_t rows) {
        for_each_row(base, strides, iterator.ntensors(), size, rows, [&](auto... row) {
          pieces(row..., [&](char* const* at, int64_t elements) {
            sums[range] += kernel(&options, at, elements);
          });
        });
      };
      iterator.serial_for_each(loop, {range * kRange, std::min(count, (range + 1) * kRange)});
    }
  });
  const double sum = std::accumulate(sums.begin(), sums.end(), 0.0);
  return at::full({}, sum / divisor, of.logits.options());
}

at::Tensor CpuLaunchers::binary_backward(const at::Tensor& grad_output, double scale,
                                         const BinaryTensors& tensors) const {
  const BinaryTensors of = complete(tensors);
  const at::Tensor out = empty_output(of.logits, {});
  const BinaryOptions options = {of.gamma, scale};
  run({kernels_of(of).gradient, &options},
      {&out, &grad_output, &of.logits, &of.target, &of.pos_weight, &of.weight});
  return out;
}

}  // namespace activations_ext::cpu
