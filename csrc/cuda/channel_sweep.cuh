// The sweep with a weight for each channel on CUDA: memory is (outer, channels, inner), and the
// weights' gradient is summed in the same pass, in an order that does not depend on which thread
// comes first.
#pragma once

#include <algorithm>

#include "../device/channel_shape.h"
#include "launch_kernel.cuh"
#include "packs.cuh"
#include "walk.h"

namespace activations_ext::cuda {

// Divisions by the sizes of a shape: multiplications up to 2³¹ elements.
struct Channels {
  ChannelShape shape;
  int64_t inner, channels;  // in units of a kernel's accesses
  Divider by_inner, by_channels;
  bool narrow;

  explicit Channels(ChannelShape of, int64_t inner_units = 0)
      : shape(of),
        inner(inner_units > 0 ? inner_units : of.inner),
        channels(of.channels),
        narrow(of.count() <= Walk::kMostElements) {
    if (narrow) by_inner = Divider(inner), by_channels = Divider(channels);
  }
  __device__ int64_t over_inner(int64_t n) const {
    return narrow ? by_inner.quotient(uint32_t(n)) : n / inner;
  }
  __device__ int64_t over_channels(int64_t n) const {
    return narrow ? by_channels.quotient(uint32_t(n)) : n / channels;
  }
};

constexpr int kChannelThreads = 256, kChannelPacks = 2;

// A thread's packs are loaded before the first is stored. To be launched with kChannelThreads.
template <class Op, class S>
__global__ void channel_forward(S* out, const S* input, const S* weight, Channels at) {
  constexpr int kCount = Pack<S>::kCount;
  const int64_t count = at.shape.count();
  const Stretch<const S> from = {input, count};
  const Stretch<S> to = {out, count};
  const auto place = [&](int k) {
    return ((int64_t(blockIdx.x) * kChannelPacks + k) * blockDim.x + threadIdx.x) * kCount;
  };
  Pack<S> x[kChannelPacks];
#pragma unroll
  for (int k = 0; k < kChannelPacks; ++k)
    if (place(k) < count) x[k] = from.load(place(k));
#pragma unroll
  for (int k = 0; k < kChannelPacks; ++k) {
    const int64_t i = place(k);
    if (i >= count) return;
    const int64_t run = at.over_inner(i), last = run + 1;
    int64_t channel = run - at.over_channels(run) * at.channels;
    int64_t left = last * at.inner - i;  // of this channel
    S w = weight[channel];
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      x[k].numbers[e] = rounded<S>(Op::value(widened(x[k].numbers[e]), widened(w)));
      if (--left > 0) continue;
      channel = channel + 1 == at.channels ? 0 : channel + 1;
      left = at.inner;
      w = weight[channel];
    }
    to.store(i, x[k]);
  }
}

constexpr int kSumThreads = 256, kSumLanes = 32;

// A block sums one of `splits` parts of a channel or (kAcross), where the channels' elements are
// neighbours because inner is 1, of kSumLanes units of channels, so that neighbouring threads read
// neighbouring memory. It writes partial[split][channel]. To be launched with kSumThreads and
// `splits` times channel groups.
template <class Op, class S, class Unit, bool kAcross>
__global__ void channel_backward(S* grad_input, double* partial, const S* grad_output,
                                 const S* input, const S* weight, Channels at, int splits) {
  using T = Compute<S>;
  constexpr int kCount = Unit::kCount, kLanes = kAcross ? kSumLanes : 1;
  constexpr int kSums = kAcross ? kCount : 1, kAhead = kCount > 1 ? 4 : 8;
  __shared__ double sums[kSumThreads];
  const int64_t groups = (at.channels / kSums + kLanes - 1) / kLanes;
  const int64_t split = blockIdx.x / groups;
  const int64_t channel = (blockIdx.x % groups * kLanes + threadIdx.x % kLanes) * kSums;
  const bool there = channel < at.channels;
  const int64_t units = kAcross ? at.shape.outer : at.shape.outer * at.inner;  // of a channel
  const int64_t rows = kSumThreads / kLanes, step = splits * rows;
  const auto place = [&](int64_t unit) {
    if (kAcross) return unit * at.channels + channel;
    const int64_t outer = at.over_inner(unit);
    return ((outer * at.channels + channel) * at.inner + (unit - outer * at.inner)) * kCount;
  };
  T weights[kSums];
  double total[kSums];
#pragma unroll
  for (int s = 0; s < kSums; ++s) {
    weights[s] = there ? widened(weight[channel + s]) : T(0.0);
    total[s] = 0;
  }
  const int64_t first = there ? split * rows + threadIdx.x / kLanes : units;
#pragma unroll 1
  for (int64_t unit = first; unit < units; unit += kAhead * step) {
    Unit g[kAhead], x[kAhead];
#pragma unroll
    for (int ahead = 0; ahead < kAhead; ++ahead) {
      if (unit + ahead * step >= units) continue;
      g[ahead] = load_unit<Unit>(grad_output + place(unit + ahead * step));
      x[ahead] = load_unit<Unit>(input + place(unit + ahead * step));
    }
    // Summed in the compute dtype first: double costs a GPU more.
    T some[kSums];
#pragma unroll
    for (int s = 0; s < kSums; ++s) some[s] = T(0.0);
#pragma unroll
    for (int ahead = 0; ahead < kAhead; ++ahead) {
      if (unit + ahead * step >= units) continue;
#pragma unroll
      for (int e = 0; e < kCount; ++e) {
        const int s = kAcross ? e : 0;
        const T grad = widened(g[ahead].numbers[e]), number = widened(x[ahead].numbers[e]);
        g[ahead].numbers[e] = rounded<S>(Op::grad_input(grad, number, weights[s]));
        some[s] = some[s] + Op::grad_weight(grad, number);
      }
      store_unit(grad_input + place(unit + ahead * step), g[ahead]);
    }
#pragma unroll
    for (int s = 0; s < kSums; ++s) total[s] += double(some[s]);
  }
  for (int s = 0; s < kSums; ++s) {
    __syncthreads();  // the sums before have been read
    sums[threadIdx.x] = total[s];
    for (int half = kSumThreads / 2; half >= kLanes; half /= 2) {
      __syncthreads();
      if (int(threadIdx.x) < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (int(threadIdx.x) < kLanes && there)
      partial[split * at.channels + channel + s] = sums[threadIdx.x];
  }
}

// To be launched with kSumThreads, for kSumLanes channels a block.
template <class S>
__global__ void channel_grad_weight(S* grad_weight, const double* partial, int64_t channels,
                                    int splits) {
  __shared__ double sums[kSumThreads];
  constexpr int kRows = kSumThreads / kSumLanes;
  const int64_t channel = int64_t(blockIdx.x) * kSumLanes + threadIdx.x % kSumLanes;
  double sum = 0;
  if (channel < channels) {
#pragma unroll 8
    for (int split = int(threadIdx.x) / kSumLanes; split < splits; split += kRows)
      sum += partial[split * channels + channel];
  }
  sums[threadIdx.x] = sum;
  __syncthreads();  // before they are put together
  if (int(threadIdx.x) >= kSumLanes || channel >= channels) return;
  for (int row = 1; row < kRows; ++row) sum += sums[row * kSumLanes + threadIdx.x];
  grad_weight[channel] = rounded<S>(Compute<S>(sum));
}

// --- launches -----------------------------------------------------------------------------------

inline bool across(ChannelShape shape) { return shape.inner == 1 && shape.channels > 1; }

// The number of parts of a channel's sum, from the shape alone: enough blocks to fill a large
// device, with at least 16 elements per thread.
inline int channel_splits_of(ChannelShape shape) {
  constexpr int64_t kBlocks = 2048, kMost = 512;
  const int64_t lanes = across(shape) ? kSumLanes : 1;
  const int64_t groups = (shape.channels + lanes - 1) / lanes;
  const int64_t worth = shape.outer * shape.inner / (kSumThreads / lanes * 16);
  return int(std::clamp<int64_t>(std::min(worth, kBlocks / groups), 1, kMost));
}

template <class Op, class S>
void launch_channel_forward(S* out, const S* input, const S* weight, ChannelShape shape,
                            cudaStream_t stream) {
  const int64_t each = int64_t(kChannelThreads) * kChannelPacks * Pack<S>::kCount;
  launch(&channel_forward<Op, S>, {(shape.count() + each - 1) / each}, kChannelThreads, stream, out,
         input, weight, Channels(shape));
}

template <class Op, class S>
void launch_channel_backward(S* grad_input, S* grad_weight, double* partial, const S* grad_output,
                             const S* input, const S* weight, ChannelShape shape,
                             cudaStream_t stream) {
  const int splits = channel_splits_of(shape);
  const auto run = [&]<class Unit, bool kAcross>() {
    constexpr int64_t kLanes = kAcross ? kSumLanes : 1, kSums = kAcross ? Unit::kCount : 1;
    const int64_t groups = (shape.channels / kSums + kLanes - 1) / kLanes;
    const Channels at(shape, kAcross ? 0 : shape.inner / Unit::kCount);
    launch(&channel_backward<Op, S, Unit, kAcross>, {groups * splits}, kSumThreads, stream,
           grad_input, partial, grad_output, input, weight, at, splits);
  };
  const bool aligned = before_aligned<S>(grad_input) == 0 && before_aligned(grad_output) == 0 &&
                       before_aligned(input) == 0;
  const auto in_packs = [&](int64_t size) { return aligned && size % Pack<S>::kCount == 0; };
  if (across(shape))
    in_packs(shape.channels) ? run.template operator()<Pack<S>, true>()
                             : run.template operator()<One<S>, true>();
  else
    in_packs(shape.inner) ? run.template operator()<Pack<S>, false>()
                          : run.template operator()<One<S>, false>();
  launch(&channel_grad_weight<S>, {(shape.channels + kSumLanes - 1) / kSumLanes}, kSumThreads,
         stream, grad_weight, static_cast<const double*>(partial), shape.channels, splits);
}

}  // namespace activations_ext::cuda
