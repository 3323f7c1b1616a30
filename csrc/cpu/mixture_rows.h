// Mixtures on the CPU: the lanes of a vector are rows. One look at everything forward; backward one
// look, which leaves the slopes in a buffer until the responsibilities are known, and one write.
#pragma once

#include <vector>

#include "../losses/mixture.h"
#include "../losses/row_sums.h"
#include "row_sweep.h"

namespace activations_ext::cpu {

// As many rows of a matrix as a vector has lanes. Lanes without a row repeat the last one.
template <class Pointer>
struct SomeStarts {
  using S = std::remove_const_t<std::remove_pointer_t<Pointer>>;
  using V = ComputeVec<S>;
  std::array<Pointer, kLanes<S>> starts;
  int rows;

  template <class Untyped>
  SomeStarts(Strided<Untyped> matrix, int64_t first_row, int rows) : rows(rows) {
    for (int lane = 0; lane < kLanes<S>; ++lane)
      starts[lane] = static_cast<Pointer>(matrix.data) +
                     (first_row + std::min(lane, rows - 1)) * matrix.stride;
  }
  V load_at(int64_t i) const {
    alignas(64) S lanes[kLanes<S>];
    store_collected<S>(lanes, starts, i);
    return load(lanes);
  }
  void store_at(int64_t i, V x) const {
    alignas(64) S lanes[kLanes<S>];
    store<false>(lanes, x);
    for (int lane = 0; lane < rows; ++lane) starts[lane][i] = lanes[lane];
  }
};

template <class S>
struct SomeMixtures {
  using V = ComputeVec<S>;
  using Number = typename V::Number;

  const MixtureRows& job;
  int rows;
  SomeStarts<const S*> logits, mean, scale, target;

  SomeMixtures(const MixtureRows& of, int64_t first_row, int rows)
      : job(of),
        rows(rows),
        logits(of.logits, first_row, rows),
        mean(of.mean, first_row, rows),
        scale(of.scale, first_row, rows),
        target(of.target, first_row, rows) {}

  // joint[c] = logits[c] + the log-density of component c; keep(i, deviation) is shown each
  // deviation of component and dimension i.
  template <class F, class Keep>
  void joint_into(V* joint, F f, Keep keep) const {
    const V floor = V(job.floor);
    for (int64_t c = 0, i = 0; c < job.components; ++c) {
      V sum = V(0.0);
      for (int64_t d = 0; d < job.dimensions; ++d, ++i) {
        const auto deviation =
            Deviation<V>::of(f, target.load_at(d), mean.load_at(i), scale.load_at(i), floor);
        sum = sum + deviation.log_density();
        keep(i, deviation);
      }
      joint[c] = logits.load_at(c) + sum;
    }
  }
  // of at(c) over the components
  template <class At>
  RowSums<V> sums_of(At at) const {
    RowSums<V> sums;
    V nan = V(0.0);  // a maximum may pass over NaN, and infinity less itself is NaN too
    for (int64_t c = 0; c < job.components; ++c) {
      const V x = at(c);
      sums.maximum = larger(sums.maximum, x);
      nan = where(x == x, nan, x);
    }
    for (int64_t c = 0; c < job.components; ++c)
      sums.sum = sums.sum + share(at(c) - sums.reference());
    sums.sum = sums.sum + nan;
    return sums;
  }
};

// work(mixtures, first row) for the rows [begin, end), some at a time.
template <class S, class Work>
void for_some_mixtures(const MixtureRows& job, int64_t begin, int64_t end, Work work) {
  for (int64_t r = begin; r < end; r += kLanes<S>)
    work(SomeMixtures<S>(job, r, int(std::min<int64_t>(kLanes<S>, end - r))), r);
}

template <class S>
void mixture_nll(const MixtureRows& job, void* nll, int64_t begin, int64_t end) {
  using V = ComputeVec<S>;
  using Number = typename V::Number;
  std::vector<V> joint(job.components);
  with_scale(job.scale_by, [&](auto f) {
    for_some_mixtures<S>(job, begin, end, [&](const SomeMixtures<S>& some, int64_t first_row) {
      some.joint_into(joint.data(), f, [](int64_t, const auto&) {});
      const auto weights = some.sums_of([&](int64_t c) { return some.logits.load_at(c); });
      const auto all = some.sums_of([&](int64_t c) { return joint[c]; });
      const V result = weights.reference() - all.reference() + (log(weights.sum) - log(all.sum)) +
                       V(normalizer(job.dimensions));
      Number lanes[kLanes<S>];
      store<false>(lanes, result);
      std::copy(lanes, lanes + some.rows, static_cast<Number*>(nll) + first_row);
    });
  });
}

template <class S>
void mixture_gradient(const MixtureRows& job, const MixtureGradient& gradient, int64_t begin,
                      int64_t end) {
  using V = ComputeVec<S>;
  using Number = typename V::Number;
  const int64_t each = job.components * job.dimensions;
  std::vector<V> joint(job.components), mean_slope(each), scale_slope(each);
  const auto out = [&](void* data, int64_t stride, int64_t first_row, int rows) {
    return SomeStarts<S*>(Strided<void*>{data, stride}, first_row, rows);
  };
  with_scale(job.scale_by, [&](auto f) {
    for_some_mixtures<S>(job, begin, end, [&](const SomeMixtures<S>& some, int64_t first_row) {
      some.joint_into(joint.data(), f, [&](int64_t i, const Deviation<V>& deviation) {
        mean_slope[i] = deviation.mean_slope();
        scale_slope[i] = deviation.scale_slope();
      });
      const auto weights = some.sums_of([&](int64_t c) { return some.logits.load_at(c); });
      const auto all = some.sums_of([&](int64_t c) { return joint[c]; });
      const V of_weight = V(1.0) / weights.sum, of_all = V(1.0) / all.sum;
      const auto grads = static_cast<const Number*>(gradient.grad_nll) + first_row;
      Number lanes[kLanes<S>] = {};
      std::copy(grads, grads + some.rows, lanes);
      const V grad = load(lanes);
      const auto grad_logits = out(gradient.logits, job.components, first_row, some.rows);
      const auto grad_mean = out(gradient.mean, each, first_row, some.rows);
      const auto grad_scale = out(gradient.scale, each, first_row, some.rows);
      for (int64_t c = 0, i = 0; c < job.components; ++c) {
        const V weight = share(some.logits.load_at(c) - weights.reference()) * of_weight;
        const V responsibility = share(joint[c] - all.reference()) * of_all;
        grad_logits.store_at(c, grad * (weight - responsibility));
        const V part = grad * responsibility;
        for (int64_t d = 0; d < job.dimensions; ++d, ++i) {
          grad_mean.store_at(i, shared(part, mean_slope[i]));
          grad_scale.store_at(i, shared(part, scale_slope[i]));
        }
      }
    });
  });
}

template <class S>
void fill_table(MixtureKernels (&table)[kNumbers], Number number) {
  table[int(number)] = {&mixture_nll<S>, &mixture_gradient<S>};
}

}  // namespace activations_ext::cpu
