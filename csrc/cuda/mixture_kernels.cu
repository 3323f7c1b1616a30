#include <algorithm>

#include "kernels.h"
#include "launch_kernel.cuh"
#include "mixture_rows.cuh"

namespace activations_ext::cuda {
namespace {

// run.template operator()<F, threads of a row's team>(blocks): a thread for each component, if
// there are not more than a warp has.
template <class Run>
void with_scale_and_team(const MixtureRows& job, Run run) {
  with_scale(job.scale_by, [&]<class F>(F) {
    const auto of_team = [&]<int kThreads>() {
      constexpr int kTeams = Team<kThreads>::kTeams;
      run.template operator()<F, kThreads>(
          Blocks{std::min<int64_t>((job.rows + kTeams - 1) / kTeams, 1 << 20)});
    };
    if (job.components <= 2) return of_team.template operator()<2>();
    if (job.components <= 4) return of_team.template operator()<4>();
    if (job.components <= 8) return of_team.template operator()<8>();
    of_team.template operator()<32>();
  });
}

template <class S>
void queue_mixture(const MixtureRows& job, void* nll, cudaStream_t stream) {
  with_scale_and_team(job, [&]<class F, int kThreads>(Blocks blocks) {
    launch(&mixture_nll<S, F, kThreads>, blocks, kRowThreads, stream, job, nll);
  });
}

template <class S>
void queue_mixture_backward(const MixtureRows& job, const MixtureGradient& gradient,
                            cudaStream_t stream) {
  with_scale_and_team(job, [&]<class F, int kThreads>(Blocks blocks) {
    launch(&mixture_backward<S, F, kThreads>, blocks, kRowThreads, stream, job, gradient);
  });
}

}  // namespace

const MixtureKernels& mixture_kernels(Number number) {
  static constexpr MixtureKernels table[kNumbers] = {
      {&queue_mixture<float>, &queue_mixture_backward<float>},
      {&queue_mixture<double>, &queue_mixture_backward<double>},
      {&queue_mixture<BFloat16>, &queue_mixture_backward<BFloat16>},
      {&queue_mixture<Half>, &queue_mixture_backward<Half>},
  };
  return table[int(number)];
}

}  // namespace activations_ext::cuda
