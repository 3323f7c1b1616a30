// The pointwise sweep on CUDA: one or two inputs, one output, any activation, any pass.
#pragma once

#include <algorithm>

#include "../activations/all.h"
#include "../contract/evaluate.h"
#include "packs.cuh"
#include "shortcuts.cuh"
#include "walk.h"

namespace activations_ext::cuda {

constexpr int kThreads = 256;

// Of a thread: all are loaded before the first is stored. With 2048 threads that is 64 KB in flight
// on a multiprocessor.
constexpr int kPacksAtOnce = 2;

// How a pack of an input is read.
enum class Reading {
  kAligned,  // as the output, which stands at multiples of 16 bytes
  kShifted,  // one of the inputs stands elsewhere
  kRows,     // by `walk`; no pack is in two rows, and all are aligned
  kGathered  // by `walk`, number by number
};

template <class S>
struct Inputs {
  const S *a, *b;  // `b` unread in the forward pass
  Walk walk;
};

// What the host decides for all threads. What stands before the output's first multiple of 16 bytes
// and behind its last is edges, and so are the packs whose shifted loads would touch foreign
// memory: the first block does them one by one.
struct Plan {
  Reading reading;
  int64_t begin = 0, packs, count;  // packs, from element `begin` of `count` on

  template <class S>
  Plan(const S* out, const Inputs<S>& in, bool two, int64_t count)
      : reading(reading_of(out, in, two)), count(count) {
    begin = std::min(before_aligned(out), count);
    packs = (count - begin) / Pack<S>::kCount;
    if (reading != Reading::kShifted || packs == 0) return;
    begin += Pack<S>::kCount;
    packs = std::max<int64_t>(packs - 2, 0);
  }
  // CUDA refuses to launch none.
  int64_t blocks(int threads) const {
    const int64_t each = int64_t(threads) * kPacksAtOnce;
    return std::max<int64_t>((packs + each - 1) / each, 1);
  }

 private:
  template <class S>
  static Reading reading_of(const S* out, const Inputs<S>& in, bool two) {
    const Walk& walk = in.walk;
    const auto alike = [&](const S* start) { return before_aligned(start) == before_aligned(out); };
    if (walk.dims == 0)
      return alike(in.a) && (!two || alike(in.b)) ? Reading::kAligned : Reading::kShifted;
    const auto in_packs = [&](int input, const S* start) {
      bool whole = before_aligned(start) == 0 && walk.strides[input][0] == 1;
      for (int d = 1; d < walk.dims; ++d) whole &= walk.strides[input][d] % Pack<S>::kCount == 0;
      return whole;
    };
    const bool rows = walk.dims > 1 && walk.sizes[0].size % Pack<S>::kCount == 0 &&
                      before_aligned(out) == 0 && in_packs(0, in.a) && (!two || in_packs(1, in.b));
    return rows ? Reading::kRows : Reading::kGathered;
  }
};

// packs[k] of an index that is not known: a choice between registers.
template <class S>
__device__ inline Pack<S> chosen(const Pack<S> (&packs)[kPacksAtOnce], int k) {
  auto result = reread<uint4>(packs[0]);
#pragma unroll
  for (int other = 1; other < kPacksAtOnce; ++other) {
    const auto words = reread<uint4>(packs[other]);
    if (k == other) result = words;
  }
  return reread<Pack<S>>(result);
}

// out = pass(a, b); `out` is dense and may be `a` or `b`. To be launched with plan.blocks().
template <Pass kPass, class A, class S>
__global__ void pointwise(A activation, S* out, Inputs<S> in, Plan plan) {
  constexpr bool kTwo = kPass != Pass::kForward;
  constexpr int kCount = Pack<S>::kCount;
  const auto evaluated = [&](S x, S y) {
    return rounded<S>(evaluate<kPass>(activation, widened(x), widened(y)));
  };

  const unsigned each = kPacksAtOnce * blockDim.x;
  const int64_t block = int64_t(blockIdx.x) * each, after = plan.packs - block;
  const int left = after < each ? int(after) : int(each);
  const int64_t start = plan.begin + block * kCount;
  const auto place = [&](int k) { return int(threadIdx.x + k * blockDim.x); };
  Pack<S> x[kPacksAtOnce] = {}, y[kPacksAtOnce] = {};
  const auto read = [&](auto load) {
#pragma unroll
    for (int k = 0; k < kPacksAtOnce; ++k) {
      if (place(k) >= left) continue;
      x[k] = load(0, in.a, place(k) * kCount);
      if constexpr (kTwo) y[k] = load(1, in.b, place(k) * kCount);
    }
  };
  switch (plan.reading) {
    case Reading::kAligned:
      read([&](int, const S* from, int i) { return load_pack(from + start + i); });
      break;
    case Reading::kShifted:
      read([&](int, const S* from, int i) { return load_shifted_pack(from + start + i); });
      break;
    case Reading::kRows:
      read([&](int input, const S* from, int i) {
        return load_pack(from + in.walk.offset(input, start + i));
      });
      break;
    case Reading::kGathered:
      break;
  }
    // Not unrolled: the code would be twice as long, and so would be its compilation.
#pragma unroll 1
  for (int k = 0; k < kPacksAtOnce; ++k) {
    if (place(k) >= left) break;
    const int64_t i = start + place(k) * kCount;
    Pack<S> u = chosen(x, k), v = chosen(y, k);
    if (plan.reading == Reading::kGathered) {
#pragma unroll
      for (int e = 0; e < kCount; ++e) {
        u.numbers[e] = in.a[in.walk.offset(0, i + e)];
        if constexpr (kTwo) v.numbers[e] = in.b[in.walk.offset(1, i + e)];
      }
    }
#pragma unroll
    for (int e = 0; e < kCount; ++e) u.numbers[e] = evaluated(u.numbers[e], v.numbers[e]);
    store_pack(out + i, u);
  }

  if (blockIdx.x != 0) return;
  const int64_t in_packs = plan.packs * kCount;
  for (int64_t edge = threadIdx.x; edge < plan.count - in_packs; edge += blockDim.x) {
    const int64_t i = edge < plan.begin ? edge : edge + in_packs;
    const auto number = [&](int input, const S* from) {
      return from[in.walk.dims == 0 ? i : in.walk.offset(input, i)];
    };
    const S x = number(0, in.a);
    out[i] = evaluated(x, kTwo ? number(1, in.b) : x);
  }
}

}  // namespace activations_ext::cuda
