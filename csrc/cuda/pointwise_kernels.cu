#include <algorithm>

#include "../activations/prelu.h"
#include "channel_sweep.cuh"
#include "kernels.h"
#include "launch_kernel.cuh"
#include "pointwise_sweep.cuh"
#include "random_sweep.cuh"

namespace activations_ext::cuda {
namespace {

// CUDA refuses to launch none: `threads` is positive.
int64_t blocks_for(int64_t threads, int64_t each_block) {
  return (threads + each_block - 1) / each_block;
}

template <class A, class S, Pass kPass>
void queue(const void* activation, void* out, const void* a, const void* b, const Walk& walk,
           int64_t count, cudaStream_t stream) {
  const auto in = [&] {
    const auto* const x = static_cast<const S*>(a);
    if constexpr (kPass == Pass::kForward) {
      return Inputs<S, 1>{{x}, walk};
    } else {
      return Inputs<S, 2>{{x, static_cast<const S*>(b)}, walk};
    }
  }();
  S* const to = static_cast<S*>(out);
  const Plan plan(to, in, count);
  launch(&pointwise<kPass, A, S>, {plan.blocks(kThreads)}, kThreads, stream,
         *static_cast<const A*>(activation), Outputs<S, 1>{{to}}, in, plan);
}

template <class Op, class S>
void queue_channel_forward(void* out, const void* input, const void* weight, ChannelShape shape,
                           cudaStream_t stream) {
  launch_channel_forward<Op>(static_cast<S*>(out), static_cast<const S*>(input),
                             static_cast<const S*>(weight), shape, stream);
}

template <class Op, class S>
void queue_channel_backward(void* grad_input, void* grad_weight, double* partial,
                            const void* grad_output, const void* input, const void* weight,
                            ChannelShape shape, cudaStream_t stream) {
  launch_channel_backward<Op>(static_cast<S*>(grad_input), static_cast<S*>(grad_weight), partial,
                              static_cast<const S*>(grad_output), static_cast<const S*>(input),
                              static_cast<const S*>(weight), shape, stream);
}

template <class A, class S>
void queue_random(const void* activation, void* out, const void* a, const void* gate,
                  const int64_t* seed, int64_t count, cudaStream_t stream) {
  const int64_t chunks = (count + kRandomChunk - 1) / kRandomChunk;
  launch(&random_map<A, S>, {blocks_for(chunks * kThreadsOfChunk<S>, kRandomThreads)},
         kRandomThreads, stream, *static_cast<const A*>(activation), static_cast<S*>(out),
         static_cast<const S*>(a), static_cast<const S*>(gate), seed, count);
}

template <class S>
void fill(KernelTable& table, Number number) {
  const int n = int(number);
  Activations::for_each([&]<Activation A>() {
    const auto add = [&]<Pass kPass>() {
      table.pointwise[Activations::index_of<A>()][n][int(kPass)] = &queue<A, S, kPass>;
    };
    for_each_pass<A>(add);
  });
  RandomActivations::for_each(
      [&]<class A>() { table.random[RandomActivations::index_of<A>()][n] = &queue_random<A, S>; });
  table.prelu[n] = {&queue_channel_forward<PReLU, S>, &queue_channel_backward<PReLU, S>};
}

}  // namespace

int channel_splits(ChannelShape shape) { return channel_splits_of(shape); }

bool kernels_have_image() { return has_image(&pointwise<Pass::kForward, ReLU, float>); }

const KernelTable& kernels() {
  static const KernelTable table = [] {
    KernelTable all = {};
    fill<float>(all, Number::kFloat);
    fill<double>(all, Number::kDouble);
    fill<BFloat16>(all, Number::kBFloat16);
    fill<Half>(all, Number::kHalf);
    return all;
  }();
  return table;
}

}  // namespace activations_ext::cuda
