// Mixtures on CUDA: a team of threads for each row, each thread with some of the components. One
// look at everything forward; backward looks twice, the second time from the cache, and writes.
#pragma once

#include "../losses/mixture.h"
#include "rows.cuh"
#include "statistics_rows.cuh"

namespace activations_ext::cuda {

// Row `row` of a mixture, computed in full precision whatever is in memory.
template <class S>
struct Mixture {
  using T = Statistic<S>;
  const MixtureRows& job;
  const S *logits, *mean, *scale, *target;

  __device__ Mixture(const MixtureRows& of, int64_t row)
      : job(of),
        logits(at(of.logits, row)),
        mean(at(of.mean, row)),
        scale(at(of.scale, row)),
        target(at(of.target, row)) {}

  __device__ T logit(int64_t c) const { return number(logits[c]); }
  template <class F>
  __device__ Deviation<T> deviation(F f, int64_t c, int64_t d) const {
    const int64_t i = c * job.dimensions + d;
    return Deviation<T>::of(f, number(target[d]), number(mean[i]), number(scale[i]), job.floor);
  }
  // The logit and the log-density of a component.
  template <class F>
  __device__ T joint(F f, int64_t c) const {
    T sum = logit(c);
    for (int64_t d = 0; d < job.dimensions; ++d) sum = sum + deviation(f, c, d).log_density();
    return sum;
  }
  // at(c) over all components, summed up by the whole team.
  template <int kThreads, class At>
  __device__ TeamSums<T> sums_of(At at) const {
    TeamSums<T> mine;
    const T none[1] = {T(0.0)};
    for (int64_t c = Team<kThreads>::rank(); c < job.components; c += kThreads) {
      const T one[1] = {at(c)};
      mine.template add<false>(one, none);
    }
    return Team<kThreads>::combined(mine, [](TeamSums<T> a, TeamSums<T> b) {
      return TeamSums<T>::template of_both<false>(a, b);
    });
  }

 private:
  static __device__ const S* at(Strided<const void*> matrix, int64_t row) {
    return static_cast<const S*>(matrix.data) + row * matrix.stride;
  }
  static __device__ T number(S x) { return T(StatisticNumber<S>(widened(x))); }
};

// To be launched with kRowThreads.
template <class S, class F, int kThreads>
__global__ void mixture_nll(MixtureRows job, void* nll) {
  using T = Statistic<S>;
  Team<kThreads>::for_each_row(job.rows, [&](int64_t row, bool there) {
    const Mixture<S> mixture(job, row);
    const auto weights =
        mixture.template sums_of<kThreads>([&](int64_t c) { return mixture.logit(c); });
    const auto all =
        mixture.template sums_of<kThreads>([&](int64_t c) { return mixture.joint(F(), c); });
    if (!there || Team<kThreads>::rank() != 0) return;
    const T result = weights.sums.reference() - all.sums.reference() +
                     (log(weights.sums.sum) - log(all.sums.sum)) + weights.nan + all.nan +
                     T(normalizer(job.dimensions));
    static_cast<StatisticNumber<S>*>(nll)[row] = StatisticNumber<S>(result);
  });
}

// To be launched with kRowThreads.
template <class S, class F, int kThreads>
__global__ void mixture_gradient(MixtureRows job, MixtureGradient gradient) {
  using T = Statistic<S>;
  const auto put = [](void* numbers, int64_t i, T x) {
    static_cast<S*>(numbers)[i] = rounded<S>(Compute<S>(StatisticNumber<S>(x)));
  };
  Team<kThreads>::for_each_row(job.rows, [&](int64_t row, bool there) {
    const Mixture<S> mixture(job, row);
    const auto weights =
        mixture.template sums_of<kThreads>([&](int64_t c) { return mixture.logit(c); });
    const auto all =
        mixture.template sums_of<kThreads>([&](int64_t c) { return mixture.joint(F(), c); });
    if (!there) return;
    const T of_weight = T(1.0) / (weights.sums.sum + weights.nan);
    const T of_all = T(1.0) / (all.sums.sum + all.nan);
    const T grad(static_cast<const StatisticNumber<S>*>(gradient.grad_nll)[row]);
    for (int64_t c = Team<kThreads>::rank(); c < job.components; c += kThreads) {
      const T weight = share(mixture.logit(c) - weights.sums.reference()) * of_weight;
      const T responsibility = share(mixture.joint(F(), c) - all.sums.reference()) * of_all;
      const int64_t place = row * job.components + c;
      put(gradient.logits, place, grad * (weight - responsibility));
      const T part = grad * responsibility;
      for (int64_t d = 0; d < job.dimensions; ++d) {
        const auto deviation = mixture.deviation(F(), c, d);
        put(gradient.mean, place * job.dimensions + d, shared(part, deviation.mean_slope()));
        put(gradient.scale, place * job.dimensions + d, shared(part, deviation.scale_slope()));
      }
    }
  });
}

}  // namespace activations_ext::cuda
