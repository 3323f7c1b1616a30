// PReLU on CUDA: memory is (outer, channels, inner) with a weight for each channel, whose gradient
// is summed in the same pass, in an order that does not depend on which thread comes first.
#pragma once

#include "../activations/prelu.h"
#include "../channel_shape.h"
#include "storage.cuh"

namespace activations_ext::cuda {

template <class S>
__global__ void prelu(S* out, const S* input, const S* weight, ChannelShape at) {
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < at.count(); i += step) {
    const int64_t channel = at.channels == 1 ? 0 : i / at.inner % at.channels;
    out[i] = rounded<S>(PReLU::value(widened(input[i]), widened(weight[channel])));
  }
}

constexpr int kSumThreads = 256, kSumLanes = 32;

// A block sums one of `splits` parts of a channel or, where the channels' elements are neighbours
// (inner = 1), of kSumLanes of them, so that neighbouring threads read neighbouring memory. It
// writes partial[split][channel]. To be launched with kSumThreads and `splits` times the groups of
// channels.
template <class S>
__global__ void prelu_backward(S* grad_input, double* partial, const S* grad_output, const S* input,
                               const S* weight, ChannelShape at, int splits) {
  __shared__ double sums[kSumThreads];
  const int lanes = at.inner == 1 ? kSumLanes : 1;
  const int64_t groups = (at.channels + lanes - 1) / lanes;
  const int64_t split = blockIdx.x / groups;
  const int64_t channel = blockIdx.x % groups * lanes + threadIdx.x % lanes;
  const int64_t elements = at.outer * at.inner;  // of a channel
  const int64_t rows = kSumThreads / lanes;

  // Sixteen numbers are summed in their own precision first: double costs a GPU much more.
  constexpr int kSummedAtOnce = 16;
  double sum = 0;
  Compute<S> some = 0.0;
  int summed = 0;
  for (int64_t k = split * rows + threadIdx.x / lanes; channel < at.channels && k < elements;
       k += splits * rows) {
    const int64_t i = (k / at.inner * at.channels + channel) * at.inner + k % at.inner;
    const Compute<S> grad = widened(grad_output[i]), x = widened(input[i]);
    grad_input[i] = rounded<S>(PReLU::grad_input(grad, x, widened(weight[channel])));
    some += PReLU::grad_weight(grad, x);
    if (++summed == kSummedAtOnce) {
      sum += double(some);
      some = 0.0;
      summed = 0;
    }
  }
  sums[threadIdx.x] = sum + double(some);
  for (int half = kSumThreads / 2; half >= lanes; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (int(threadIdx.x) < lanes && channel < at.channels)
    partial[split * at.channels + channel] = sums[threadIdx.x];
}

template <class S>
__global__ void prelu_grad_weight(S* grad_weight, const double* partial, int64_t channels,
                                  int splits) {
  const int64_t channel = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (channel >= channels) return;
  double sum = 0;
  for (int split = 0; split < splits; ++split) sum += partial[split * channels + channel];
  grad_weight[channel] = rounded<S>(Compute<S>(sum));
}

}  // namespace activations_ext::cuda
