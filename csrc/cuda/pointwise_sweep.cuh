// The pointwise sweep on CUDA: one or two inputs, one output, any activation, any pass.
#pragma once

#include "../evaluate.h"
#include "../registry.h"
#include "shortcuts.cuh"
#include "storage.cuh"

namespace activations_ext::cuda {

constexpr int kThreads = 256;

// out = pass(a, b) of contiguous memory, `b` unread in the forward pass; `out` may be `a` or `b`.
// In packs of 16 bytes where all three stand alike in them, the first few and the last few elements
// one by one; else all of them.
template <Pass kPass, class A, class S>
__global__ void pointwise(A activation, S* out, const S* a, const S* b, int64_t count) {
  constexpr bool kTwoInputs = kPass != Pass::kForward;
  const int64_t first = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t step = int64_t(gridDim.x) * blockDim.x;

  const int64_t head = before_aligned(out) < count ? before_aligned(out) : count;
  const bool alike = before_aligned(a) == before_aligned(out) &&
                     (!kTwoInputs || before_aligned(b) == before_aligned(out));
  const int64_t packs = alike ? (count - head) / Pack<S>::kCount : 0;
  const auto evaluated = [&](S x, S y) {
    return rounded<S>(evaluate<kPass>(activation, widened(x), widened(y)));
  };

  const auto* const a_packs = reinterpret_cast<const Pack<S>*>(a + head);
  const auto* const b_packs = reinterpret_cast<const Pack<S>*>(kTwoInputs ? b + head : a + head);
  auto* const out_packs = reinterpret_cast<Pack<S>*>(out + head);
  for (int64_t i = first; i < packs; i += step) {
    const Pack<S> x = a_packs[i], y = b_packs[i];
    Pack<S> result;
    for (int k = 0; k < Pack<S>::kCount; ++k)
      result.numbers[k] = evaluated(x.numbers[k], y.numbers[k]);
    out_packs[i] = result;
  }

  const int64_t in_packs = packs * Pack<S>::kCount;
  for (int64_t i = first; i < count - in_packs; i += step) {
    const int64_t at = i < head ? i : i + in_packs;
    out[at] = evaluated(a[at], (kTwoInputs ? b : a)[at]);
  }
}

}  // namespace activations_ext::cuda
