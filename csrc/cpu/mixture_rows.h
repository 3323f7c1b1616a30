// Mixtures on the CPU: the lanes of a vector are rows. One read of everything forward. Backward
// reads once, keeps the slopes in a buffer until the responsibilities are known, and writes once.
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
  static constexpr int kWidth = kLanes<S>;
  std::array<Pointer, kWidth> starts;
  int rows;

  template <class Untyped>
  SomeStarts(Strided<Untyped> matrix, int64_t first_row, int rows) : rows(rows) {
    for (int lane = 0; lane < kWidth; ++lane)
      starts[lane] = static_cast<Pointer>(matrix.data) +
                     (first_row + std::min(lane, rows - 1)) * matrix.stride;
  }
  // Columns [first, first + count), at most kWidth of them; a vector is a column.
  void load_columns(int64_t first, int64_t count, V (&columns)[kWidth]) const {
    if (count == kWidth) {
      for (int lane = 0; lane < kWidth; ++lane) columns[lane] = load(starts[lane] + first);
      return transpose(columns);
    }
    for (int64_t k = 0; k < count; ++k) {
      alignas(64) S lanes[kWidth];
      store_collected<S>(lanes, starts, first + k);
      columns[k] = load(lanes);
    }
  }
  void store_columns(int64_t first, int64_t count, V (&columns)[kWidth]) const {
    if (count == kWidth) {
      transpose(columns);
      for (int lane = 0; lane < rows; ++lane) store<false>(starts[lane] + first, columns[lane]);
      return;
    }
    for (int64_t k = 0; k < count; ++k) {
      alignas(64) S lanes[kWidth];
      store<false>(lanes, columns[k]);
      for (int lane = 0; lane < rows; ++lane) starts[lane][first + k] = lanes[lane];
    }
  }
  // All of `columns` columns, into as many vectors.
  void load_all(int64_t columns, V* to) const {
    for_columns(columns, [&](int64_t first, int64_t count) {
      V some[kWidth];
      load_columns(first, count, some);
      std::copy(some, some + count, to + first);
    });
  }

  // work(first, count) for as many columns at a time as a vector has lanes.
  template <class Work>
  static void for_columns(int64_t columns, Work work) {
    for (int64_t first = 0; first < columns; first += kWidth)
      work(first, std::min<int64_t>(kWidth, columns - first));
  }
};

// Vectors for the components and the dimensions of some rows.
template <class V>
struct MixtureBuffers {
  std::vector<V> logits, joint, target;
  explicit MixtureBuffers(const MixtureRows& of)
      : logits(of.components), joint(of.components), target(of.dimensions) {}
};

template <class S>
struct SomeMixtures {
  using V = ComputeVec<S>;
  static constexpr int kWidth = kLanes<S>;

  const MixtureRows& job;
  int64_t first_row;
  int rows;
  MixtureBuffers<V>& buffers;

  SomeStarts<const S*> starts(Strided<const void*> of) const { return {of, first_row, rows}; }

  // joint[c] = logits[c] + the log-density of component c; calls keep(i, deviation) for the
  // deviation of each component and dimension, i being its index.
  template <class F, class Keep>
  void fill(F f, Keep keep) const {
    starts(job.logits).load_all(job.components, buffers.logits.data());
    starts(job.target).load_all(job.dimensions, buffers.target.data());
    const auto mean = starts(job.mean), scale = starts(job.scale);
    V sum = V(0.0);
    int64_t c = 0, d = 0;
    mean.for_columns(job.components * job.dimensions, [&](int64_t first, int64_t count) {
      V means[kWidth], scales[kWidth];
      mean.load_columns(first, count, means);
      scale.load_columns(first, count, scales);
      for (int64_t k = 0; k < count; ++k) {
        const auto deviation =
            Deviation<V>::of(f, buffers.target[d], means[k], scales[k], job.floor);
        sum = sum + deviation.log_density();
        keep(first + k, deviation);
        if (++d < job.dimensions) continue;
        buffers.joint[c] = buffers.logits[c] + sum;
        sum = V(0.0);
        d = 0;
        ++c;
      }
    });
  }
  RowSums<V> sums_of(const std::vector<V>& numbers) const {
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
};

// work(mixtures) for the rows [begin, end), some at a time.
template <class S, class Work>
void for_some_mixtures(const MixtureRows& job, int64_t begin, int64_t end, Work work) {
  MixtureBuffers<ComputeVec<S>> buffers(job);
  for (int64_t r = begin; r < end; r += kLanes<S>)
    work(SomeMixtures<S>{job, r, int(std::min<int64_t>(kLanes<S>, end - r)), buffers});
}

template <class S>
void mixture_nll(const MixtureRows& job, void* nll, int64_t begin, int64_t end) {
  using V = ComputeVec<S>;
  using Number = typename V::Number;
  with_scale(job.scale_by, [&](auto f) {
    for_some_mixtures<S>(job, begin, end, [&](const SomeMixtures<S>& some) {
      some.fill(f, [](int64_t, const auto&) {});
      const auto weights = some.sums_of(some.buffers.logits),
                 all = some.sums_of(some.buffers.joint);
      const V result = weights.reference() - all.reference() + (log(weights.sum) - log(all.sum)) +
                       V(normalizer(job.dimensions));
      Number lanes[kLanes<S>];
      store<false>(lanes, result);
      std::copy(lanes, lanes + some.rows, static_cast<Number*>(nll) + some.first_row);
    });
  });
}

template <class S>
void mixture_backward(const MixtureRows& job, const MixtureGradient& gradient, int64_t begin,
                      int64_t end) {
  using V = ComputeVec<S>;
  using Number = typename V::Number;
  constexpr int kWidth = kLanes<S>;
  const int64_t each = job.components * job.dimensions;
  std::vector<V> mean_slope(each), scale_slope(each), part(job.components);
  with_scale(job.scale_by, [&](auto f) {
    for_some_mixtures<S>(job, begin, end, [&](const SomeMixtures<S>& some) {
      some.fill(f, [&](int64_t i, const Deviation<V>& deviation) {
        mean_slope[i] = deviation.mean_slope();
        scale_slope[i] = deviation.scale_slope();
      });
      const auto& [logits, joint, target] = some.buffers;
      const auto weights = some.sums_of(logits), all = some.sums_of(joint);
      const V of_weight = V(1.0) / weights.sum, of_all = V(1.0) / all.sum;
      const auto grads = static_cast<const Number*>(gradient.grad_nll) + some.first_row;
      Number lanes[kWidth] = {};
      std::copy(grads, grads + some.rows, lanes);
      const V grad = load(lanes);
      const auto out = [&](void* data, int64_t columns) {
        return SomeStarts<S*>(Strided<void*>{data, columns}, some.first_row, some.rows);
      };
      const auto grad_logits = out(gradient.logits, job.components);
      grad_logits.for_columns(job.components, [&](int64_t first, int64_t count) {
        V columns[kWidth];
        for (int64_t k = 0; k < count; ++k) {
          const int64_t c = first + k;
          part[c] = grad * (share(joint[c] - all.reference()) * of_all);
          columns[k] = grad * (share(logits[c] - weights.reference()) * of_weight) - part[c];
        }
        grad_logits.store_columns(first, count, columns);
      });
      const auto grad_mean = out(gradient.mean, each), grad_scale = out(gradient.scale, each);
      int64_t c = 0, d = 0;
      grad_mean.for_columns(each, [&](int64_t first, int64_t count) {
        V means[kWidth], scales[kWidth];
        for (int64_t k = 0; k < count; ++k) {
          means[k] = shared(part[c], mean_slope[first + k]);
          scales[k] = shared(part[c], scale_slope[first + k]);
          if (++d == job.dimensions) d = 0, ++c;
        }
        grad_mean.store_columns(first, count, means);
        grad_scale.store_columns(first, count, scales);
      });
    });
  });
}

template <class S>
void fill_table(MixtureKernels (&table)[kNumbers], Number number) {
  table[int(number)] = {&mixture_nll<S>, &mixture_backward<S>};
}

}  // namespace activations_ext::cpu
