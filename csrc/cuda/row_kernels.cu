#include <algorithm>
#include <initializer_list>

#include "cross_entropy_rows.cuh"
#include "kernels.h"
#include "launch_kernel.cuh"
#include "softmax_rows.cuh"
#include "statistics_rows.cuh"
#include "tiles.cuh"

namespace activations_ext::cuda {
namespace {

// Three blocks of a multiprocessor's 228 KB keep enough loads in flight. Two still cost less than
// reading a row twice, where no cluster shares it.
constexpr int64_t kMostShared = 64 << 10, kMostSharedAlone = 112 << 10;

// Packs of one row are packs of the other.
template <class S>
bool alike(const RowShape& shape, Matrix<const void*> a, Matrix<const void*> b) {
  const auto in_pack = [](int64_t n) { return n & (Pack<S>::kCount - 1); };
  const auto start = [](Matrix<const void*> m) {
    return before_aligned(static_cast<const S*>(m.data));
  };
  return b.at.class_stride == 1 && start(a) == start(b) &&
         in_pack(a.at.inner_stride - b.at.inner_stride) == 0 &&
         (shape.rows <= shape.inner || in_pack(a.at.outer_stride - b.at.outer_stride) == 0);
}

// run.template operator()<Team>() for matrices that are read and written together: up to eight
// units a thread, as far as a team can be so large.
template <class S, class Run>
void with_team(const RowShape& shape, std::initializer_list<Matrix<const void*>> matrices,
               Run run) {
  const Matrix<const void*>& first = *matrices.begin();
  const int64_t classes = shape.classes;
  if (first.at.class_stride != 1 && classes > 1) {
    if (classes < 64) return run.template operator()<Team<1, By::kNumbers>>();
    return run.template operator()<Team<8, By::kColumns>>();
  }
  if (classes <= 16) return run.template operator()<Team<1, By::kNumbers>>();
  if (classes <= 64) return run.template operator()<Team<4, By::kNumbers>>();
  for (const Matrix<const void*>& other : matrices)
    if (!alike<S>(shape, first, other))
      return run.template operator()<Team<kRowThreads, By::kNumbers>>();
  if (classes <= 256 * Pack<S>::kCount) return run.template operator()<Team<32, By::kPacks>>();
  run.template operator()<Team<kRowThreads, By::kPacks>>();
}

// run.template operator()<Team, Keep>(blocks): for two passes over kRows rows, which stay in
// registers, or else in the shared memory of as few blocks as can hold them.
template <class S, int kRows, class Run>
void with_keep(const RowShape& shape, std::initializer_list<Matrix<const void*>> matrices,
               Run run) {
  with_team<S>(shape, matrices, [&]<class Team>() {
    const int64_t blocks = Team::blocks(shape.rows);
    const int64_t units = shape.classes / (Team::kInPacks ? Pack<S>::kCount : 1);
    if (units <= Team::kThreads * TwoLooks<S, Team, Keep::kInRegisters, kRows>::kHeld)
      return run.template operator()<Team, Keep::kInRegisters>({blocks});
    if constexpr (Team::kInPacks && Team::kThreads == kRowThreads) {
      const auto bytes = [&](int splits) {
        return Part::most(shape.classes, splits) * kRows * int64_t(sizeof(S));
      };
      const auto fits = [&, device = shared_bytes_of_device()](int splits, int64_t most) {
        return bytes(splits) <= std::min(most, device);
      };
      int splits = 1;
      if (const int clusters = most_blocks_of_cluster(); clusters > 1) {
        while (splits < clusters && !fits(splits, kMostShared)) splits *= 2;
      }
      if (fits(splits, splits > 1 ? kMostShared : kMostSharedAlone))
        return run.template operator()<Team, Keep::kInShared>(
            {blocks, splits, int(bytes(splits)), splits > 1});
    }
    run.template operator()<Team, Keep::kNowhere>({blocks});
  });
}

// run.template operator()<Team>(blocks) for dense rows of few classes, at multiples of 16 bytes.
// False: these are none.
template <class S, class Run>
bool with_tiles(const RowShape& shape, std::initializer_list<Matrix<const void*>> matrices,
                Run run) {
  if (shape.classes > 64) return false;
  for (const auto& [data, at] : matrices) {
    const bool dense =
        (at.class_stride == 1 || shape.classes == 1) && at.inner_stride == shape.classes &&
        (shape.rows <= shape.inner || at.outer_stride == shape.inner * shape.classes);
    if (!dense || before_aligned(static_cast<const S*>(data)) != 0) return false;
  }
  const auto with = [&]<class Team>() {
    const int64_t bytes = Tile<S, Team>::bytes(shape.classes, int(matrices.size()) - 1);
    if (bytes > std::min(kMostShared, shared_bytes_of_device())) return false;
    // Each block has its rows once.
    run.template operator()<Team>(
        Blocks{(shape.rows + Team::kTeams - 1) / Team::kTeams, 1, int(bytes)});
    return true;
  };
  return shape.classes <= 16 ? with.template operator()<Team<1>>()
                             : with.template operator()<Team<4>>();
}

// run.template operator()<With, whether logits are mapped>(). Both kinds of weights are rare: they
// have no kernels without a map.
template <class Run>
void with_weights(const StatisticsRows& job, bool all, Run run) {
  if (job.weights.data != nullptr && job.class_weights != nullptr)
    return run.template operator()<With::kBothWeights, true>();
  const auto mapped = [&]<bool kMapped>() {
    if (job.weights.data != nullptr) return run.template operator()<With::kLogitWeights, kMapped>();
    run.template operator()<With::kClassWeights, kMapped>();
  };
  if (!job.map.is_identity()) return mapped.template operator()<true>();
  if (all) return mapped.template operator()<false>();
  run.template operator()<With::kNothing, false>();
}

template <class S>
void queue_statistics(const StatisticsRows& job, const StatisticsResults& results, int64_t* report,
                      void* partial, cudaStream_t stream) {
  using Sums = TeamSums<Compute<S>>;
  const bool all = job.expected || job.weights.data != nullptr || job.class_weights != nullptr;
  const int splits = row_splits(job.shape);
  const auto& weights = job.weights.data != nullptr ? job.weights : job.logits;
  with_weights(job, all, [&]<With kWith, bool kMapped>() {
    with_team<S>(job.shape, {job.logits, weights}, [&]<class Team>() {
      launch(&row_statistics<S, kWith, kMapped, Team>, {Team::blocks(job.shape.rows), splits},
             kRowThreads, stream, job, results, report, static_cast<Sums*>(partial));
    });
    if (splits > 1)
      launch(&combine_statistics<S, kWith != With::kNothing>, {(job.shape.rows + 63) / 64}, 64,
             stream, job, results, report, static_cast<const Sums*>(partial), splits);
  });
}

template <class S>
void queue_statistics_backward(const StatisticsRows& job, const StatisticsGradient& gradient,
                               cudaStream_t stream) {
  const bool all = gradient.grad_weighted_sum != nullptr || gradient.grad_expected_logit != nullptr;
  const auto& weights = job.weights.data != nullptr ? job.weights : job.logits;
  const Matrix<const void*> out = {gradient.out.data, gradient.out.at};
  with_weights(job, all, [&]<With kWith, bool kMapped>() {
    with_team<S>(job.shape, {job.logits, weights, out}, [&]<class Team>() {
      launch(&row_statistics_backward<S, kWith, kMapped, Team>,
             {Team::blocks(job.shape.rows), row_splits(job.shape)}, kRowThreads, stream, job,
             gradient);
    });
  });
}

template <class S>
void queue_cross_entropy(const CrossEntropyJob& job, void* partial, cudaStream_t stream) {
  using Number = StatisticNumber<S>;
  static_assert(kMostLossParts == kRowThreads && sizeof(LossSums) == 16);
  constexpr int64_t kRowsOfBlock = 4096;
  const LossesOf<S> of = {static_cast<const Number*>(job.log_sum),
                          static_cast<const Number*>(job.target_logit), job.target, job.rows,
                          job.ignore_index};
  const CrossEntropyResults<S> results = {static_cast<S*>(job.loss),
                                          static_cast<Number*>(job.share), job.mean};
  if (job.of_rows)
    return launch(&losses_of_rows<S>, {std::max<int64_t>((job.rows + 255) / 256, 1)}, 256, stream,
                  of, results);
  auto* const parts = static_cast<LossSums*>(partial);
  const int64_t blocks =
      std::clamp<int64_t>((job.rows + kRowsOfBlock - 1) / kRowsOfBlock, 1, kMostLossParts);
  launch(&sum_losses<S>, {blocks}, kRowThreads, stream, of, results, parts);
  if (blocks > 1)
    launch(&sum_parts<S>, {1}, kRowThreads, stream, results, static_cast<const LossSums*>(parts),
           int(blocks));
}

template <class F, class S>
void queue_softmax(const RowShape& shape, Matrix<const void*> input, Matrix<void*> out,
                   cudaStream_t stream) {
  const bool done =
      with_tiles<S>(shape, {input, {out.data, out.at}}, [&]<class Team>(Blocks blocks) {
        launch(&softmax_tiles<F, S, Team>, blocks, kRowThreads, stream, shape,
               static_cast<const S*>(input.data), static_cast<S*>(out.data));
      });
  if (done) return;
  with_keep<S, 1>(shape, {input, {out.data, out.at}}, [&]<class Team, Keep kKeep>(Blocks blocks) {
    launch(&softmax_rows<F, S, Team, kKeep>, blocks, kRowThreads, stream, shape, input, out);
  });
}

template <class F, class S>
void queue_softmax_backward(const RowShape& shape, Matrix<const void*> grad_output,
                            Matrix<const void*> result, Matrix<void*> out, cudaStream_t stream) {
  const bool done = with_tiles<S>(
      shape, {grad_output, result, {out.data, out.at}}, [&]<class Team>(Blocks blocks) {
        launch(&softmax_backward_tiles<F, S, Team>, blocks, kRowThreads, stream, shape,
               static_cast<const S*>(grad_output.data), static_cast<const S*>(result.data),
               static_cast<S*>(out.data));
      });
  if (done) return;
  with_keep<S, 2>(shape, {grad_output, result, {out.data, out.at}},
                  [&]<class Team, Keep kKeep>(Blocks blocks) {
                    launch(&softmax_backward_rows<F, S, Team, kKeep>, blocks, kRowThreads, stream,
                           shape, grad_output, result, out);
                  });
}

template <class S>
void fill(RowKernelTable& table, Number number) {
  const int n = int(number);
  table.statistics[n] = {&queue_statistics<S>, &queue_statistics_backward<S>};
  table.cross_entropy[n] = &queue_cross_entropy<S>;
  table.softmax[n] = {&queue_softmax<Softmax, S>, &queue_softmax_backward<Softmax, S>};
  table.log_softmax[n] = {&queue_softmax<LogSoftmax, S>, &queue_softmax_backward<LogSoftmax, S>};
}

}  // namespace

// By the shape alone, not by the device: sums come out the same everywhere. Parts of 4096 classes
// and more, until there are as many blocks as fill a large device.
int row_splits(const RowShape& shape) {
  constexpr int64_t kPart = 4 * 1024, kBlocks = 1024;
  if (shape.inner > 1 && shape.inner < shape.rows) return 1;
  return int(std::clamp<int64_t>(kBlocks / std::max<int64_t>(shape.rows, 1), 1,
                                 std::max<int64_t>(shape.classes / kPart, 1)));
}

int64_t partial_bytes(const RowShape& shape) {
  return row_splits(shape) == 1
             ? 0
             : shape.rows * row_splits(shape) * int64_t(sizeof(TeamSums<double>));
}

const RowKernelTable& row_kernels() {
  static const RowKernelTable table = [] {
    RowKernelTable all = {};
    fill<float>(all, Number::kFloat);
    fill<double>(all, Number::kDouble);
    fill<BFloat16>(all, Number::kBFloat16);
    fill<Half>(all, Number::kHalf);
    return all;
  }();
  return table;
}

}  // namespace activations_ext::cuda
