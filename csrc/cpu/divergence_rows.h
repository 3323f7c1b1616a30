// Divergences of rows on the CPU. Each row is read from memory once: the passes that follow find it
// in the cache.
#pragma once

#include "../losses/divergence.h"
#include "reduce_rows.h"

namespace activations_ext::cpu {

// A group whose first matrix is the second of another one.
template <class Group>
struct SecondOf {
  using V = typename Group::V;
  static constexpr int64_t kInCache = Group::kInCache;

  const Group& group;
  int64_t classes = group.classes;

  template <class Block>
  struct Second : Block {
    V load_a(int64_t i) const { return Block::load_b(i); }
    void prefetch_next(int64_t) const {}
  };
  template <bool kWrite, class Work>
  void for_each_block(Work work) const {
    group.template for_each_block<kWrite>(
        [&](const auto& block) { work(Second<std::remove_cvref_t<decltype(block)>>{block}); });
  }
  template <class Combine>
  static V over_classes(V x, Combine combine) {
    return Group::over_classes(x, combine);
  }
};

// log p of a row's logits.
template <class V>
struct LogProbability {
  V scale, maximum, log_sum;

  template <class Group>
  static LogProbability of(const Group& group, V scale) {
    const auto sums = sums_of<false>(
        group, [=](V x) { return scale * x; }, [](const auto&, int64_t) { return V(0.0); });
    return {scale, sums.reference(), log(sums.sum)};
  }
  V operator()(V x) const { return scale * x - maximum - log_sum; }
};

// Row `i` of the statistics.
template <class V>
typename V::Number* statistic(const DivergenceRows& job, int i) {
  return static_cast<typename V::Number*>(job.statistics) + i * job.shape.rows;
}

template <class S>
void divergence(const DivergenceRows& job, void* value, int64_t begin, int64_t end) {
  using V = ComputeVec<S>;
  const Operands<S> operands = {{job.logits, job.shape}, {job.teacher, job.shape}, {}};
  with_divergence(job.kind, job.beta, [&](auto divergence) {
    for_each_group(job.shape, operands, begin, end, [&]<class Group>(const Group& group) {
      const auto student = LogProbability<V>::of(group, V(job.scale));
      const auto teacher = LogProbability<V>::of(SecondOf<Group>{group}, V(job.scale));
      DivergenceSums<V> sums = {V(0.0), V(0.0)};
      group.template for_each_block<false>([&](const auto& block) {
        DivergenceSums<V> some = {V(0.0), V(0.0)};
        for (int64_t i = 0; i < block.count; ++i) {
          const auto [added, own] =
              divergence.of(student(block.load_a(i)), teacher(block.load_b(i)));
          some = some.plus({block.inside(added, 0.0), block.inside(own, 0.0)});
        }
        sums = sums.plus(some);
      });
      const auto total = [&](V x) { return group.over_classes(x, [](V a, V b) { return a + b; }); };
      const V own = total(sums.own);
      const RowLanes<S, Group> lanes = {group};
      lanes.write(value, total(sums.value));
      const V numbers[] = {student.maximum, student.log_sum, teacher.maximum, teacher.log_sum, own};
      for (int i = 0; i < kDivergenceStatistics; ++i) lanes.write(statistic<V>(job, i), numbers[i]);
    });
  });
}

// `grad` has a number for each row. `out` may be the logits.
template <class S, bool kStream>
void divergence_backward_rows(const DivergenceRows& job, const void* grad, Matrix<void*> out,
                              int64_t begin, int64_t end) {
  using V = ComputeVec<S>;
  const Operands<S> operands = {
      {job.logits, job.shape}, {job.teacher, job.shape}, {out, job.shape}};
  const V scale(job.scale);
  with_divergence(job.kind, job.beta, [&](auto divergence) {
    for_each_group(job.shape, operands, begin, end, [&]<class Group>(const Group& group) {
      const RowLanes<S, Group> lanes = {group};
      const auto read = [&](int i) { return lanes.read(statistic<V>(job, i)); };
      const LogProbability<V> student = {scale, read(0), read(1)},
                              teacher = {scale, read(2), read(3)};
      const V own = read(4), factor = scale * lanes.read(grad);
      group.template for_each_block<true, kStream>([&](const auto& block) {
        block.template put_all<kStream>([&](int64_t i) {
          const V a = student(block.load_a(i)), b = teacher(block.load_b(i));
          return shared(factor, divergence.gradient(a, b, own));
        });
      });
      if (kStream) stream_fence();
    });
  });
}

template <class S>
void divergence_backward(const DivergenceRows& job, const void* grad, Matrix<void*> out,
                         bool stream, int64_t begin, int64_t end) {
  stream ? divergence_backward_rows<S, true>(job, grad, out, begin, end)
         : divergence_backward_rows<S, false>(job, grad, out, begin, end);
}

template <class S>
void fill_table(DivergenceKernels (&table)[kNumbers], Number number) {
  table[int(number)] = {&divergence<S>, &divergence_backward<S>};
}

}  // namespace activations_ext::cpu
