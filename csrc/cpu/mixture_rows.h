// Mixtures on the CPU. One read of everything forward. Backward reads once, keeps the slopes in a
// buffer until the responsibilities are known, and writes once.
#pragma once

#include "../losses/row_sums.h"
#include "mixture_groups.h"

namespace activations_ext::cpu {

// work(group) for the rows [begin, end).
template <class Group, class Work>
void for_groups(const MixtureRows& job, int64_t begin, int64_t end, Work work) {
  auto buffers = Group::buffers_for(job);
  const int at_once = Group::rows_at_once(job);
  for (int64_t r = begin; r < end; r += at_once)
    work(Group{{job, buffers, r, int(std::min<int64_t>(at_once, end - r))}});
}
// In place if the dimensions are whole vectors, or enough of them to outweigh the one that is not.
template <class S, class Work>
void for_mixtures(const MixtureRows& job, int64_t begin, int64_t end, Work work) {
  const bool in_place = job.dimensions % kLanes<S> == 0 || job.dimensions >= 4 * kLanes<S>;
  if (in_place) return for_groups<InPlace<S>>(job, begin, end, work);
  for_groups<Transposed<S>>(job, begin, end, work);
}

template <class V>
RowSums<V> sums_of(const std::vector<V>& numbers) {
  RowSums<V> sums;
  V nan = V(0.0);  // a maximum may pass over NaN, and infinity less itself is NaN too
  for (const V x : numbers) {
    sums.maximum = larger(sums.maximum, x);
    nan = where(x == x, nan, x);
  }
  for (const V x : numbers) sums.sum = sums.sum + share(x - sums.reference());
  sums.sum = sums.sum + nan;
  return sums;
}

// Of the logits, and of the joint log-densities of target and component.
template <class V>
struct MixtureSums {
  RowSums<V> weights, all;

  template <class Group, class F, class Keep>
  static MixtureSums of(const Group& group, F f, Keep keep) {
    auto& [logits, joint, part, target, mean_slope, scale_slope, by_row] = group.buffers;
    const int64_t components = group.job.components;
    group.starts(group.job.logits).load_all(components, logits.data());
    group.densities(f, keep);
    for (int64_t c = 0; c < components; ++c) joint[c] = logits[c] + joint[c];
    return {sums_of(logits), sums_of(joint)};
  }
};

template <class S>
void mixture_nll(const MixtureRows& job, void* nll, int64_t begin, int64_t end) {
  using V = ComputeVec<S>;
  with_scale(job.scale_by, [&](auto f) {
    for_mixtures<S>(job, begin, end, [&](const auto& group) {
      const auto [weights, all] = MixtureSums<V>::of(group, f, [](int64_t, const auto&) {});
      group.store_each(nll, weights.reference() - all.reference() +
                                (log(weights.sum) - log(all.sum)) + V(normalizer(job.dimensions)));
    });
  });
}

template <class S>
void mixture_backward(const MixtureRows& job, const MixtureGradient& gradient, int64_t begin,
                      int64_t end) {
  using V = ComputeVec<S>;
  with_scale(job.scale_by, [&](auto f) {
    for_mixtures<S>(job, begin, end, [&](const auto& group) {
      auto& [logits, joint, part, target, mean_slope, scale_slope, by_row] = group.buffers;
      const auto keep = [&](int64_t i, const Deviation<V>& deviation) {
        mean_slope[i] = deviation.mean_slope();
        scale_slope[i] = deviation.scale_slope();
      };
      const auto [weights, all] = MixtureSums<V>::of(group, f, keep);
      const V of_weight = V(1.0) / weights.sum, of_all = V(1.0) / all.sum;
      const V grad = group.load_each(gradient.grad_nll);
      for (int64_t c = 0; c < job.components; ++c) {
        part[c] = grad * (share(joint[c] - all.reference()) * of_all);
        logits[c] = grad * (share(logits[c] - weights.reference()) * of_weight) - part[c];
      }
      group.starts(gradient.logits, job.components).store_all(job.components, logits.data());
      group.store_parts(gradient);
    });
  });
}

template <class S>
void fill_table(MixtureKernels (&table)[kNumbers], Number number) {
  table[int(number)] = {&mixture_nll<S>, &mixture_backward<S>};
}

}  // namespace activations_ext::cpu
