// Mixtures on CUDA: a team of threads for each row, each thread with some of the components. One
// read of everything forward; backward reads twice, the second time from the cache, and writes.
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
  // Of e^x over all components by the whole team, relative to the largest x; NaN if one is.
  struct Sum {
    T reference, sum;
  };
  struct Sums {
    Sum logits, joint;
  };
  template <int kThreads, class F>
  __device__ Sums sums(F f) const {
    const Sum logits = sum_of<kThreads>([&](int64_t c) { return logit(c); });
    return {logits, sum_of<kThreads>([&](int64_t c) { return joint(f, c); })};
  }

 private:
  template <int kThreads, class At>
  __device__ Sum sum_of(At at) const {
    TeamSums<T> mine;
    const T none[1] = {T(0.0)};
    for (int64_t c = Team<kThreads>::rank(); c < job.components; c += kThreads) {
      const T one[1] = {at(c)};
      mine.template add<false>(one, none);
    }
    const auto total = Team<kThreads>::combined(mine, [](TeamSums<T> a, TeamSums<T> b) {
      return TeamSums<T>::template of_both<false>(a, b);
    });
    return {total.sums.reference(), total.sums.sum + total.nan};
  }
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
    const auto [logits, joint] = Mixture<S>(job, row).template sums<kThreads>(F());
    if (!there || Team<kThreads>::rank() != 0) return;
    const T result = logits.reference - joint.reference + (log(logits.sum) - log(joint.sum)) +
                     T(normalizer(job.dimensions));
    static_cast<StatisticNumber<S>*>(nll)[row] = StatisticNumber<S>(result);
  });
}

// To be launched with kRowThreads.
template <class S, class F, int kThreads>
__global__ void mixture_backward(MixtureRows job, MixtureGradient gradient) {
  using T = Statistic<S>;
  const auto put = [](void* numbers, int64_t i, T x) {
    static_cast<S*>(numbers)[i] = rounded<S>(Compute<S>(StatisticNumber<S>(x)));
  };
  Team<kThreads>::for_each_row(job.rows, [&](int64_t row, bool there) {
    const Mixture<S> mixture(job, row);
    const auto sums = mixture.template sums<kThreads>(F());
    if (!there) return;
    const T of_logits = T(1.0) / sums.logits.sum, of_joint = T(1.0) / sums.joint.sum;
    const T grad(static_cast<const StatisticNumber<S>*>(gradient.grad_nll)[row]);
    for (int64_t c = Team<kThreads>::rank(); c < job.components; c += kThreads) {
      const T weight = share(mixture.logit(c) - sums.logits.reference) * of_logits;
      const T part = grad * (share(mixture.joint(F(), c) - sums.joint.reference) * of_joint);
      const int64_t place = row * job.components + c;
      put(gradient.logits, place, grad * weight - part);
      for (int64_t d = 0; d < job.dimensions; ++d) {
        const auto deviation = mixture.deviation(F(), c, d);
        put(gradient.mean, place * job.dimensions + d, shared(part, deviation.mean_slope()));
        put(gradient.scale, place * job.dimensions + d, shared(part, deviation.scale_slope()));
      }
    }
  });
}

}  // namespace activations_ext::cuda
