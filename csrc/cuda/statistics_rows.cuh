// Statistics of rows on CUDA: one read of the logits forward, one read and one write backward. A
// row that is long where rows are few is split over several blocks, whose sums are put together in
// a fixed order.
#pragma once

#include "../losses/row_statistics.h"
#include "rows.cuh"

namespace activations_ext::cuda {

// Statistics are computed in full precision for every dtype: they are few.
template <class S>
using Statistic = std::conditional_t<std::is_same_v<S, double>, double, Precise>;
// In memory.
template <class S>
using StatisticNumber = std::conditional_t<std::is_same_v<S, double>, double, float>;

// What a target may be. A row whose target is kWrong has no loss (NaN) and no gradient, and is
// reported to the host.
enum class TargetKind { kNone, kClass, kWrong };

struct Target {
  int64_t index;
  TargetKind kind;

  __device__ Target(const StatisticsRows& job, int64_t row) : index(-1), kind(TargetKind::kNone) {
    if (job.target == nullptr || job.target[row] == job.ignore_index) return;
    index = job.target[row];
    const bool inside = index >= 0 && index < job.shape.classes;
    kind = inside ? TargetKind::kClass : TargetKind::kWrong;
  }

  // In one store of 8 bytes, so that the host never sees half of it: the row + 1 above, the target
  // below, each cut off at 32 bits. The last of several wins.
  __device__ void report(int64_t* to, int64_t row) const {
    if (kind != TargetKind::kWrong || to == nullptr) return;
    constexpr int64_t kMost = 0x7fffffff;
    const int64_t shown_row = row < kMost ? row + 1 : kMost;
    const int64_t shown = index > kMost ? kMost : index < -kMost ? -kMost : index;
    *static_cast<volatile int64_t*>(to) = shown_row << 32 | (shown & 0xffffffff);
  }
};

// What the statistics of a row are made of besides the logits.
enum class With {
  kNothing,       // only the largest logit and the sum
  kClassWeights,  // the expected logit as well, and perhaps a weight for each class
  kLogitWeights,  // a weight for each logit, in the same units as the logits
  kBothWeights    // the same, times a weight for each class
};
constexpr bool weighs_logits(With with) { return with >= With::kLogitWeights; }

template <class S>
struct ClassWeights {
  const StatisticNumber<S>* of_class;
  Smoothing smoothing;

  explicit __device__ ClassWeights(const StatisticsRows& job)
      : of_class(static_cast<const StatisticNumber<S>*>(job.class_weights)),
        smoothing(job.smoothing) {}
  __device__ Compute<S> operator[](int64_t i) const {
    return of_class != nullptr ? Compute<S>(of_class[i]) : Compute<S>(0.0);
  }
};

// Row `row` of the logits and, if there are any, of their weights.
template <class S, class Team, With kWith>
__device__ auto rows_with_weights(const StatisticsRows& job, int64_t row) {
  const Rows<const S> logits(job.logits, job.shape);
  const Row<const S, Team> x = {logits.row(row), logits.at.class_stride};
  if constexpr (!weighs_logits(kWith)) return RowsOf<S, Team, 1>{{x}};
  const Rows<const S> weights(job.weights, job.shape);
  if constexpr (weighs_logits(kWith))
    return RowsOf<S, Team, 2>{{x, {weights.row(row), weights.at.class_stride}}};
}

// The weight of a unit's k-th number, which is of class i + k.
template <With kWith, class S, class Units>
__device__ Compute<S> weight_of(const Units& units, const ClassWeights<S>& weights, int64_t i,
                                int k) {
  if constexpr (kWith == With::kNothing) return Compute<S>(0.0);
  if constexpr (kWith == With::kClassWeights) return weights[i + k];
  if constexpr (weighs_logits(kWith)) {
    const Compute<S> weight = weights.smoothing.value(widened(units.row[1].numbers[k]));
    return kWith == With::kBothWeights ? weight * weights[i + k] : weight;
  }
}

// The last step of a row.
template <class S>
__device__ void write_statistics(const StatisticsRows& job, const StatisticsResults& results,
                                 int64_t row, const TeamSums<Compute<S>>& total, int64_t* report) {
  using T = Statistic<S>;
  using Number = StatisticNumber<S>;
  const auto widen = [](Compute<S> x) { return T(Number(x)); };
  RowSums<T> sums;
  sums.maximum = widen(total.sums.maximum);
  sums.sum = widen(total.sums.sum);
  sums.spread = widen(total.sums.spread);
  sums.dot = widen(total.sums.dot);
  sums.mass = widen(total.sums.mass);
  const RowStatistics<T> statistics(sums);
  const auto put = [&](void* numbers, T x) {
    if (numbers != nullptr) static_cast<Number*>(numbers)[row] = Number(x);
  };
  const Target target(job, row);
  target.report(report, row);
  T target_logit(0.0);
  if (target.kind == TargetKind::kWrong) target_logit = T(double(NAN));
  if (target.kind == TargetKind::kClass) {
    const Rows<const S> logits(job.logits, job.shape);
    const S x = logits.row(row)[target.index * logits.at.class_stride];
    target_logit = job.map.value(widen(widened(x))) - statistics.maximum;
  }
  // Infinity less itself is NaN too: only here does it matter which of them the row has.
  const bool infinite = statistics.maximum == infinity<T>();
  put(results.maximum, infinite ? statistics.maximum + widen(total.nan) : statistics.maximum);
  put(results.log_sum, statistics.log_sum);
  put(results.target_logit, target_logit);
  put(results.weighted_sum, statistics.weighted_sum);
  put(results.expected_logit, statistics.expected_logit);
  put(results.mass, statistics.mass);
}

// To be launched with kRowThreads and a second dimension of `splits` blocks. Where that is more
// than 1 the sums of a part go to partial[row][split].
template <class S, With kWith, bool kMapped, class Team>
__global__ void row_statistics(StatisticsRows job, StatisticsResults results, int64_t* report,
                               TeamSums<Compute<S>>* partial) {
  using T = Compute<S>;
  constexpr bool kAll = kWith != With::kNothing;
  const LogitMap map = job.map;
  const ClassWeights<S> class_weights(job);
  const Part part(job.shape.classes, int(gridDim.y), int(blockIdx.y));
  Team::for_each_row(job.shape.rows, [&](int64_t row, bool there) {
    const auto rows = rows_with_weights<S, Team, kWith>(job, row);
    TeamSums<T> mine;
    const Span<S, Team> span(rows.row[0].data, part.begin, part.end);
    sweep(span, rows, [&](int64_t i, const auto& units) {
      T f[units.kCount], weights[units.kCount];
#pragma unroll
      for (int k = 0; k < units.kCount; ++k) {
        const T x = widened(units.row[0].numbers[k]);
        f[k] = kMapped ? map.value(x) : x;
        weights[k] = weight_of<kWith, S>(units, class_weights, i, k);
      }
      mine.template add<kAll>(f, weights);
    });
    const auto total = combined<Team, kAll>(mine);
    if (!there || Team::rank() != 0) return;
    if (gridDim.y > 1) {
      partial[row * gridDim.y + blockIdx.y] = total;
    } else {
      write_statistics<S>(job, results, row, total, report);
    }
  });
}

// A thread for each row.
template <class S, bool kAll>
__global__ void combine_statistics(StatisticsRows job, StatisticsResults results, int64_t* report,
                                   const TeamSums<Compute<S>>* partial, int splits) {
  const int64_t row = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= job.shape.rows) return;
  TeamSums<Compute<S>> total = partial[row * splits];
  for (int split = 1; split < splits; ++split)
    total = TeamSums<Compute<S>>::template of_both<kAll>(total, partial[row * splits + split]);
  write_statistics<S>(job, results, row, total, report);
}

// To be launched like row_statistics.
template <class S, With kWith, bool kMapped, class Team>
__global__ void row_statistics_backward(StatisticsRows job, StatisticsGradient gradient) {
  using T = Compute<S>;
  constexpr bool kAll = kWith != With::kNothing;
  const Rows<S> out(gradient.out, job.shape);
  const LogitMap map = job.map;
  const ClassWeights<S> class_weights(job);
  const Part part(job.shape.classes, int(gridDim.y), int(blockIdx.y));
  Team::for_each_row(job.shape.rows, [&](int64_t row, bool there) {
    if (!there) return;  // there is no barrier below
    const auto read = [&](const void* numbers) {
      return numbers == nullptr ? T(0.0) : T(static_cast<const StatisticNumber<S>*>(numbers)[row]);
    };
    const Target target(job, row);
    const T m = read(gradient.maximum);
    T grad_target = target.kind == TargetKind::kClass ? read(gradient.grad_target_logit) : T(0.0);
    RowStatisticsGradient<T> of_row = {
        read(gradient.log_sum), read(gradient.expected_logit), read(gradient.grad_log_sum),
        read(gradient.grad_weighted_sum), read(gradient.grad_expected_logit)};
    if (gradient.of_loss != nullptr && target.kind == TargetKind::kClass) {
      const T of_loss = widened(static_cast<const S*>(gradient.of_loss)[row * gradient.step]);
      of_row.grad_log_sum = T(*static_cast<const StatisticNumber<S>*>(gradient.share)) * of_loss;
      grad_target = -of_row.grad_log_sum;
    }
    // Nothing that a row without a gradient holds, NaN and infinities included, may reach it.
    const bool unused =
        target.kind == TargetKind::kWrong ||
        (grad_target == T(0.0) && of_row.grad_log_sum == T(0.0) &&
         of_row.grad_weighted_sum == T(0.0) && of_row.grad_expected_logit == T(0.0));
    const auto rows = rows_with_weights<S, Team, kWith>(job, row);
    const Row<S, Team> to = {out.row(row), out.at.class_stride};
    const Span<S, Team> span(rows.row[0].data, part.begin, part.end);
    sweep(span, rows, [&](int64_t i, auto units) {
      auto& numbers = units.row[0].numbers;
      const int64_t ahead = target.index - i;
      const int target_at = ahead >= 0 && ahead < units.kCount ? int(ahead) : -1;
#pragma unroll
      for (int k = 0; k < units.kCount; ++k) {
        const T x = widened(numbers[k]), f = kMapped ? map.value(x) : x;
        T result = of_row.template at<kAll>(f - m, weight_of<kWith, S>(units, class_weights, i, k));
        // In full precision, before it is rounded.
        if (k == target_at) result = result + grad_target;
        if constexpr (kMapped) result = result * map.slope(f);
        numbers[k] = rounded<S>(unused ? T(0.0) : result);
      }
      to.write(i, units.row[0]);
    });
  });
}

}  // namespace activations_ext::cuda
