#include <algorithm>

#include "kernels.h"
#include "launch_kernel.cuh"
#include "softmax_rows.cuh"
#include "statistics_rows.cuh"

namespace activations_ext::cuda {
namespace {

// run.template operator()<threads of a row's team>(): about four packs a thread. One thread alone
// where a row's classes are apart, so that neighbouring threads have neighbouring rows.
template <class S, class Run>
void with_team(const RowShape& shape, int64_t class_stride, Run run) {
  const int64_t packs = shape.classes / Pack<S>::kCount;
  if (class_stride != 1 && shape.classes > 1) return run.template operator()<1>();
  if (packs <= 32) return run.template operator()<8>();
  if (packs <= 256) return run.template operator()<32>();
  run.template operator()<kRowThreads>();
}

template <int kThreads>
int64_t blocks_for(int64_t rows) {
  const int64_t teams = Team<kThreads>::kTeams;
  return std::min<int64_t>((rows + teams - 1) / teams, 1 << 20);
}

template <class S>
void queue_statistics(const StatisticsRows& job, const StatisticsResults& results, int64_t* report,
                      void* partial, cudaStream_t stream) {
  using Sums = TeamSums<Compute<S>>;
  const bool all = job.expected || job.weights.data != nullptr || job.class_weights != nullptr;
  const int splits = row_splits(job.shape);
  const auto run = [&]<bool kAll, bool kCapped>() {
    with_team<S>(job.shape, job.logits.at.class_stride, [&]<int kThreads>() {
      launch(&row_statistics<S, kAll, kCapped, kThreads>,
             {blocks_for<kThreads>(job.shape.rows), splits}, kRowThreads, stream, job, results,
             report, static_cast<Sums*>(partial));
    });
    if (splits > 1)
      launch(&combine_statistics<S, kAll>, {(job.shape.rows + 63) / 64}, 64, stream, job, results,
             report, static_cast<const Sums*>(partial), splits);
  };
  if (job.softcap != 0) return run.template operator()<true, true>();
  all ? run.template operator()<true, false>() : run.template operator()<false, false>();
}

template <class S>
void queue_statistics_gradient(const StatisticsRows& job, const StatisticsGradient& gradient,
                               cudaStream_t stream) {
  const bool all = gradient.grad_weighted_sum != nullptr || gradient.grad_expected_logit != nullptr;
  const auto run = [&]<bool kAll, bool kCapped>() {
    with_team<S>(job.shape, job.logits.at.class_stride, [&]<int kThreads>() {
      launch(&row_statistics_gradient<S, kAll, kCapped, kThreads>,
             {blocks_for<kThreads>(job.shape.rows), row_splits(job.shape)}, kRowThreads, stream,
             job, gradient);
    });
  };
  if (job.softcap != 0) return run.template operator()<true, true>();
  all ? run.template operator()<true, false>() : run.template operator()<false, false>();
}

template <class F, class S>
void queue_softmax(const RowShape& shape, Matrix<const void*> input, Matrix<void*> out,
                   cudaStream_t stream) {
  with_team<S>(shape, input.at.class_stride, [&]<int kThreads>() {
    launch(&softmax_rows<F, S, kThreads>, {blocks_for<kThreads>(shape.rows)}, kRowThreads, stream,
           shape, input, out);
  });
}

template <class F, class S>
void queue_softmax_gradient(const RowShape& shape, Matrix<const void*> grad_output,
                            Matrix<const void*> result, Matrix<void*> out, cudaStream_t stream) {
  with_team<S>(shape, grad_output.at.class_stride, [&]<int kThreads>() {
    launch(&softmax_gradient_rows<F, S, kThreads>, {blocks_for<kThreads>(shape.rows)}, kRowThreads,
           stream, shape, grad_output, result, out);
  });
}

template <class S>
void fill(RowKernelTable& table, Number number) {
  const int n = int(number);
  table.statistics[n] = {&queue_statistics<S>, &queue_statistics_gradient<S>};
  table.softmax[n] = {&queue_softmax<Softmax, S>, &queue_softmax_gradient<Softmax, S>};
  table.log_softmax[n] = {&queue_softmax<LogSoftmax, S>, &queue_softmax_gradient<LogSoftmax, S>};
}

}  // namespace

// By the shape alone, not by the device: sums come out the same everywhere.
int row_splits(const RowShape& shape) {
  constexpr int64_t kFewRows = 256, kLong = 16 * 1024, kBlocks = 512;
  if (shape.rows > kFewRows || shape.classes < kLong || shape.inner > 1) return 1;
  return int(std::clamp<int64_t>(kBlocks / shape.rows, 1, shape.classes / (kLong / 4)));
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
