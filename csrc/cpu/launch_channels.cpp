// Where each element's weight is, how the work is cut into tasks, and the sum of their gradients.
#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <vector>

#include "cpu_launchers.h"
#include "share.h"

namespace activations_ext::cpu {
namespace {

constexpr int64_t kTask = 32 * 1024;    // elements, about
constexpr int64_t kLongRow = 4 * 1024;  // from here on a row is cut into segments
constexpr int64_t kSegment = 16 * 1024;
constexpr int64_t kTiled = 512;  // elements that a short row of weights is repeated to fill
constexpr int64_t kMaxBlocks = 64;
constexpr int64_t kShared = 32;  // elements, at least, that share a sum: memory for sums is an 1/16

// Dense memory as (outer, channels, inner), cut into tasks. The cut depends on the shape alone:
// sums come out the same on any number of threads.
struct Partition {
  int64_t outer, channels, inner;
  bool segmented;      // a task is a segment of one row, else some channels of a block
  int64_t per_row;     // segments
  int64_t per_block;   // outer indices
  int64_t chunk;       // channels of a task
  int64_t chunks = 1;  // in a block
  int64_t tile = 1;    // rows of `channels` weights side by side
  int64_t tasks;

  explicit Partition(ChannelShape shape)
      : outer(shape.outer), channels(shape.channels), inner(shape.inner) {
    segmented = inner >= kLongRow;
    if (segmented) {
      per_row = (inner + kSegment - 1) / kSegment;
      tasks = outer * channels * per_row;
    } else {
      chunk = std::min(channels, kSegment / inner);
      chunks = (channels + chunk - 1) / chunk;
      per_block = std::max({kShared / inner, kTask / (chunk * inner),
                            (outer + kMaxBlocks - 1) / kMaxBlocks, int64_t{1}});
      tasks = (outer + per_block - 1) / per_block * chunks;
      if (inner == 1) tile = std::clamp<int64_t>(kTiled / channels, 1, per_block);
    }
  }

  // Sums that a task has, and the channel of each.
  int64_t sums(int64_t task) const {
    if (segmented) return 1;
    return chunks == 1 ? channels * tile : std::min(chunk, channels - task % chunks * chunk);
  }
  int64_t most_sums() const { return sums(0); }
  int64_t channel(int64_t task, int64_t sum) const {
    return segmented ? task / per_row % channels : (task % chunks * chunk + sum) % channels;
  }

  // piece(offset, count, each, weight, sum) for every contiguous piece of a task, with the indices
  // of its first weight and sum.
  template <class Piece>
  void for_each_piece(int64_t task, Piece piece) const {
    if (segmented) {
      const int64_t row = task / per_row, begin = task % per_row * kSegment;
      return piece(row * inner + begin, std::min(kSegment, inner - begin), false, row % channels,
                   int64_t{0});
    }
    const int64_t begin = task / chunks * per_block, end = std::min(begin + per_block, outer);
    const int64_t first = task % chunks * chunk, last = std::min(first + chunk, channels);
    if (inner == 1 && chunks > 1) {
      for (int64_t o = begin; o < end; ++o)
        piece(o * channels + first, last - first, true, first, int64_t{0});
      return;
    }
    if (inner == 1) {
      for (int64_t o = begin; o < end; o += tile)
        piece(o * channels, std::min(tile, end - o) * channels, true, int64_t{0}, int64_t{0});
      return;
    }
    for (int64_t o = begin; o < end; ++o) {
      for (int64_t c = first; c < last; ++c)
        piece((o * channels + c) * inner, inner, false, c, c - first);
    }
  }
};

// The weights in the type that computes, repeated `tile` times, and padding for the kernels.
template <class Number>
std::vector<Number> tiled(const at::Tensor& weight, int64_t tile) {
  check_storage(weight);
  const at::Tensor flat = weight.reshape({-1}).contiguous();
  const int64_t channels = flat.numel();
  std::vector<Number> numbers(channels * tile + kMaxLanes);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, flat.scalar_type(), "prelu", [&] {
    const scalar_t* from = flat.const_data_ptr<scalar_t>();
    for (int64_t i = 0; i < channels * tile; ++i) numbers[i] = Number(from[i % channels]);
  });
  return numbers;
}

// work(task) for every task, with `weights(i)`, the address of the weight at i.
template <class Work>
void run_tasks(const Partition& partition, const at::Tensor& weight, Work work) {
  const auto run = [&]<class Number>() {
    const std::vector<Number> numbers = tiled<Number>(weight, partition.tile);
    const auto weights = [&](int64_t i) -> const void* { return numbers.data() + i; };
    const int64_t count = partition.outer * partition.channels * partition.inner;
    const int64_t grain = std::max<int64_t>(1, worth::kCheapElements * partition.tasks / count);
    share(partition.tasks, 1, grain, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) work(task, weights);
    });
  };
  weight.scalar_type() == at::kDouble ? run.template operator()<double>()
                                      : run.template operator()<float>();
}

}  // namespace

at::Tensor CpuLaunchers::prelu(const at::Tensor& input, const at::Tensor& weight) const {
  if (input.numel() == 0) return at::empty_like(input);
  check_storage(input);
  const at::Tensor x = channels_somewhere(input);
  at::Tensor result = empty_output(x, {});
  const Partition partition(channel_shape(x, weight.numel()));
  const auto kernel = kernels().prelu[int(number_of(x.scalar_type()))].forward;
  const int64_t itemsize = x.itemsize();
  const bool stream = is_large(result);
  char* const to = static_cast<char*>(result.mutable_data_ptr());
  const char* const from = static_cast<const char*>(x.const_data_ptr());
  run_tasks(partition, weight, [&](int64_t task, auto weights) {
    partition.for_each_piece(
        task, [&](int64_t offset, int64_t count, bool each, int64_t weight_index, int64_t) {
          kernel(to + offset * itemsize, from + offset * itemsize, weights(weight_index), each,
                 count, stream);
        });
  });
  return laid_out_as(input, result);
}

std::pair<at::Tensor, at::Tensor> CpuLaunchers::prelu_backward(const at::Tensor& grad_output,
                                                               const at::Tensor& input,
                                                               const at::Tensor& weight,
                                                               bool overwrite) const {
  at::Tensor grad_weight = at::empty_like(weight, at::MemoryFormat::Contiguous);
  if (input.numel() == 0) return {at::empty_like(input), grad_weight.zero_()};
  check_storage(input);
  check_storage(grad_output);
  const at::Tensor x = channels_somewhere(input);
  const at::Tensor grad = laid_out_as(x, grad_output);
  at::Tensor grad_input = overwrite ? grad : empty_output(x, {});
  const Partition partition(channel_shape(x, weight.numel()));
  // Kernels add zeros past the end of what they sum.
  const int64_t width = partition.most_sums() + kMaxLanes;
  std::vector<double> sums(partition.tasks * width);

  const auto kernel = kernels().prelu[int(number_of(x.scalar_type()))].backward;
  const int64_t itemsize = x.itemsize();
  const bool stream = !overwrite && is_large(grad_input);
  char* const to = static_cast<char*>(grad_input.mutable_data_ptr());
  const char* const grads = static_cast<const char*>(grad.const_data_ptr());
  const char* const from = static_cast<const char*>(x.const_data_ptr());
  run_tasks(partition, weight, [&](int64_t task, auto weights) {
    partition.for_each_piece(
        task, [&](int64_t offset, int64_t count, bool each, int64_t weight_index, int64_t sum) {
          kernel(to + offset * itemsize, grads + offset * itemsize, from + offset * itemsize,
                 weights(weight_index), each, sums.data() + task * width + sum, count, stream);
        });
  });

  std::vector<double> totals(weight.numel());
  for (int64_t task = 0; task < partition.tasks; ++task) {
    for (int64_t sum = 0; sum < partition.sums(task); ++sum)
      totals[partition.channel(task, sum)] += sums[task * width + sum];
  }
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, weight.scalar_type(), "prelu", [&] {
    std::copy(totals.begin(), totals.end(), grad_weight.mutable_data_ptr<scalar_t>());
  });
  return {laid_out_as(input, grad_input), grad_weight};
}

}  // namespace activations_ext::cpu
