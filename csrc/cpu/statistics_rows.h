// Statistics of rows on the CPU: one read of the logits forward, one read and one write backward.
#pragma once

#include "../losses/row_statistics.h"
#include "reduce_rows.h"

namespace activations_ext::cpu {

// The rows of a group as lanes, with their targets.
template <class S, class Group>
struct Lanes : RowLanes<S, Group> {
  using typename RowLanes<S, Group>::V;
  using typename RowLanes<S, Group>::Number;
  using RowLanes<S, Group>::kWidth, RowLanes<S, Group>::group, RowLanes<S, Group>::row;

  int64_t target[kWidth];  // the class, or −1 for none

  Lanes(const StatisticsRows& job, const Group& of) : RowLanes<S, Group>{of} {
    for (int lane = 0; lane < kWidth; ++lane) {
      target[lane] = -1;
      if (job.target == nullptr || (lane > 0 && !Group::kMixed)) continue;
      const int64_t asked = job.target[row(lane)];
      if (asked == job.ignore_index) continue;
      if (asked >= 0 && asked < job.shape.classes) {
        target[lane] = asked;
      } else {
        __atomic_store_n(job.out_of_range, true, __ATOMIC_RELAXED);
      }
    }
  }

  void write_classes(int64_t* classes, const std::array<int64_t, kWidth>& of) const {
    std::copy(of.begin(), of.begin() + group.rows, classes + group.first_row);
  }
  // Of the rows in the lanes: of one row alone, or of as many as a vector has lanes.
  template <class Pointer>
  auto starts(const TypedMatrix<Pointer>& matrix) const {
    return matrix.template some_rows<Group::kMixed ? kWidth : 1>(group.first_row, group.rows);
  }
  V logit_of_target() const {
    S logits[kWidth] = {};
    const auto& a = group.operands.a;
    const auto starts = this->starts(a);
    for (std::size_t lane = 0; lane < starts.size(); ++lane) {
      if (target[lane] >= 0) logits[lane] = starts[lane][target[lane] * a.at.class_stride];
    }
    const V x = load(logits);
    return Group::kMixed ? x : V(double(x.native[0]));
  }
  Mask<Number> has_target() const {
    alignas(64) Number lanes[kWidth];
    for (int lane = 0; lane < kWidth; ++lane)
      lanes[lane] = Number(target[Group::kMixed ? lane : 0] >= 0);
    return load(lanes) != V(0.0);
  }
};

// The weights of vector i, or 0 where there are none.
template <class S>
struct WeightsOf {
  using V = ComputeVec<S>;
  const typename V::Number* of_class;
  bool of_logit;
  Smoothing smoothing;

  explicit WeightsOf(const StatisticsRows& job)
      : of_class(static_cast<const typename V::Number*>(job.class_weights)),
        of_logit(job.weights.data != nullptr),
        smoothing(job.smoothing) {}

  // Of what `from_logit` and `from_class` read, if they have to.
  template <class FromLogit, class FromClass>
  V of(FromLogit from_logit, FromClass from_class) const {
    if (!of_logit) return of_class == nullptr ? V(0.0) : from_class();
    const V weight = smoothing.value(from_logit());
    return of_class == nullptr ? weight : weight * from_class();
  }
  template <class Block>
  V operator()(const Block& block, int64_t i) const {
    return of([&] { return block.load_b(i); }, [&] { return block.of_class(of_class, i); });
  }
};

// In each lane NaN if its row has one, else 0.
template <class Group, class V = typename Group::V>
V nan_of(const Group& group) {
  V sum = V(0.0);
  group.template for_each_block<false>([&](const auto& block) {
    for (int64_t i = 0; i < block.count; ++i) {
      const V x = block.inside(block.load_a(i), 0.0);
      sum = sum + where(x == x, V(0.0), x);
    }
  });
  return group.over_classes(sum, [](V a, V b) { return a + b; });
}

// The first class of each row that is `sought`, NaN included, or 0.
template <class Group, class Map, class V = typename Group::V>
std::array<int64_t, Group::kWidth> first_classes(const Group& group, V sought, Map mapped) {
  std::array<int64_t, Group::kWidth> found;
  found.fill(-1);
  group.template for_each_block<false>([&](const auto& block) {
    if (!Group::kMixed && found[0] >= 0) return;
    V place = infinity<V>();  // the first in this block, of few enough to be counted in V
    for (int64_t i = block.count - 1; i >= 0; --i) {
      const V x = mapped(block.load_a(i)), here = block.place(i);
      const V of_nan = where(sought == sought, place, here);
      place = block.inside(where(x == x, where(x == sought, here, place), of_nan), INFINITY);
    }
    place = group.over_classes(place, [](V a, V b) { return where(a < b, a, b); });
    for (int lane = 0; lane < group.rows; ++lane) {
      const auto first = place.native[lane];
      if (found[lane] < 0 && first < INFINITY) found[lane] = block.first + int64_t(first);
    }
  });
  for (int64_t& one : found) one = std::max<int64_t>(one, 0);
  return found;
}

// kAll: with weights or the expected logit. kMapped: with a map of the logits.
template <class S, bool kAll, bool kMapped>
void statistics_rows(const StatisticsRows& job, const StatisticsResults& results, int64_t begin,
                     int64_t end) {
  using V = ComputeVec<S>;
  const Operands<S> operands = {{job.logits, job.shape}, {job.weights, job.shape}, {}};
  const WeightsOf<S> weights(job);
  const auto mapped = [map = job.map](V x) { return kMapped ? map.value(x) : x; };
  for_each_group(job.shape, operands, begin, end, [&]<class Group>(const Group& group) {
    const Lanes<S, Group> lanes(job, group);
    if (job.skip_ignored && !any(lanes.has_target())) {
      for (void* const numbers : {results.maximum, results.log_sum, results.target_logit,
                                  results.weighted_sum, results.expected_logit, results.mass})
        lanes.write(numbers, V(0.0));
      return;
    }
    const RowStatistics<V> row(sums_of<kAll>(group, mapped, weights));
    const V target = mapped(lanes.logit_of_target()) - row.maximum;
    // Infinity less itself is NaN too: only here does it matter which of them the row has.
    const auto infinite = row.maximum == infinity<V>();
    const V maximum =
        any(infinite) ? where(infinite, row.maximum + nan_of(group), row.maximum) : row.maximum;
    lanes.write(results.maximum, maximum);
    lanes.write(results.log_sum, row.log_sum);
    lanes.write(results.target_logit, where(lanes.has_target(), target, V(0.0)));
    lanes.write(results.weighted_sum, row.weighted_sum);
    lanes.write(results.expected_logit, row.expected_logit);
    lanes.write(results.mass, row.mass);
    if (results.argmax != nullptr) {
      // A row with NaN, which no maximum has to show, has a sum of NaN.
      const V sought =
          where(infinite, maximum, where(row.log_sum == row.log_sum, maximum, row.log_sum));
      lanes.write_classes(results.argmax, first_classes(group, sought, mapped));
    }
  });
}

template <class S, bool kAll, bool kMapped, bool kStream>
void statistics_backward_rows(const StatisticsRows& job, const StatisticsGradient& gradient,
                              int64_t begin, int64_t end) {
  using V = ComputeVec<S>;
  const Operands<S> operands = {
      {job.logits, job.shape}, {job.weights, job.shape}, {gradient.out, job.shape}};
  const WeightsOf<S> weights(job);
  const LogitMap map = job.map;
  for_each_group(job.shape, operands, begin, end, [&]<class Group>(const Group& group) {
    const Lanes<S, Group> lanes(job, group);
    const V m = lanes.read(gradient.maximum);
    const V grad_target = where(lanes.has_target(), lanes.read(gradient.grad_target_logit), V(0.0));
    const RowStatisticsGradient<V> row = {
        lanes.read(gradient.log_sum), lanes.read(gradient.expected_logit),
        lanes.read(gradient.grad_log_sum), lanes.read(gradient.grad_weighted_sum),
        lanes.read(gradient.grad_expected_logit)};
    // Nothing that a row without a gradient holds, NaN and infinities included, may reach it.
    const auto unused = (grad_target == V(0.0)) & (row.grad_log_sum == V(0.0)) &
                        (row.grad_weighted_sum == V(0.0)) & (row.grad_expected_logit == V(0.0));
    if (!any(where(unused, V(0.0), V(1.0)) != V(0.0))) {  // the logits are not read
      group.template for_each_block<true, kStream>([&](const auto& block) {
        block.template put_all<kStream>([](int64_t) { return V(0.0); });
      });
      if (kStream) stream_fence();
      return;
    }
    const auto at = [&](V x, V weight, auto... of_target) {
      const V f = kMapped ? map.value(x) : x;
      V result = (row.template at<kAll>(f - m, weight) + ... + of_target);
      if constexpr (kMapped) result = result * map.slope(f);
      return where(unused, V(0.0), result);
    };
    // Of the target's class, before anything is written: `out` may be the logits.
    alignas(64) S at_target[kLanes<S>], weights_there[kLanes<S>] = {};
    V weight = V(0.0);
    if constexpr (kAll) {
      alignas(64) typename V::Number there[kLanes<S>] = {};
      for (int lane = 0; lane < kLanes<S>; ++lane) {
        const int64_t t = lanes.target[lane];
        if (t < 0) continue;
        if (weights.of_class != nullptr) there[lane] = weights.of_class[t];
        if (weights.of_logit)
          weights_there[lane] = operands.b.row(lanes.row(lane))[t * operands.b.at.class_stride];
      }
      weight = weights.of([&] { return load(weights_there); }, [&] { return load(there); });
    }
    store<false>(at_target, at(lanes.logit_of_target(), weight, grad_target));

    group.template for_each_block<true, kStream>([&](const auto& block) {
      block.template put_all<kStream>(
          [&](int64_t i) { return at(block.load_a(i), kAll ? weights(block, i) : V(0.0)); });
    });
    if (kStream) stream_fence();
    const auto starts = lanes.starts(operands.out);
    for (int lane = 0; lane < group.rows; ++lane) {
      const int64_t t = lanes.target[lane];
      if (t >= 0) starts[lane][t * operands.out.at.class_stride] = at_target[lane];
    }
  });
}

template <class S>
void statistics(const StatisticsRows& job, const StatisticsResults& results, int64_t begin,
                int64_t end) {
  const bool all = job.expected || job.weights.data != nullptr || job.class_weights != nullptr;
  if (!job.map.is_identity()) return statistics_rows<S, true, true>(job, results, begin, end);
  all ? statistics_rows<S, true, false>(job, results, begin, end)
      : statistics_rows<S, false, false>(job, results, begin, end);
}

template <class S>
void statistics_backward(const StatisticsRows& job, const StatisticsGradient& gradient,
                         int64_t begin, int64_t end) {
  const bool all = gradient.grad_weighted_sum != nullptr || gradient.grad_expected_logit != nullptr;
  const auto run = [&]<bool kStream>() {
    if (!job.map.is_identity())
      return statistics_backward_rows<S, true, true, kStream>(job, gradient, begin, end);
    all ? statistics_backward_rows<S, true, false, kStream>(job, gradient, begin, end)
        : statistics_backward_rows<S, false, false, kStream>(job, gradient, begin, end);
  };
  gradient.stream ? run.template operator()<true>() : run.template operator()<false>();
}

template <class S>
void fill_table(StatisticsKernels (&table)[kNumbers], Number number) {
  table[int(number)] = {&statistics<S>, &statistics_backward<S>};
}

}  // namespace activations_ext::cpu
