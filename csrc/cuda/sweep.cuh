// The elementwise sweep on CUDA: any number of inputs of any strides and of dense outputs.
#pragma once

#include <algorithm>
#include <utility>

#include "packs.cuh"
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

template <class S, int kIn>
struct Inputs {
  static_assert(kIn <= Walk::kMostInputs);
  const S* data[kIn];
  Walk walk;
};

// All are dense, in the same order, and stand alike relative to multiples of 16 bytes.
template <class S, int kOut>
struct Outputs {
  S* data[kOut == 0 ? 1 : kOut];
};

// What a function of several outputs returns.
template <class S, int kOut>
struct Results {
  S numbers[kOut];
};

// The host's plan for all threads. The elements are in the order of `model`, which is the first
// output or, where there is none, a dense input. Elements before its first multiple of 16 bytes and
// after its last are edges, and so are packs whose shifted loads would touch foreign memory. The
// first block computes the edges one by one.
struct Plan {
  Reading reading;
  int64_t begin = 0, packs, count;  // packs, from element `begin` of `count` on

  template <class S, int kIn>
  Plan(const S* model, const Inputs<S, kIn>& in, int64_t count)
      : reading(reading_of(model, in)), count(count) {
    begin = std::min(before_aligned(model), count);
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
  template <class S, int kIn>
  static Reading reading_of(const S* model, const Inputs<S, kIn>& in) {
    const Walk& walk = in.walk;
    const auto all = [&](auto holds) {
      bool result = true;
      for (int input = 0; input < kIn; ++input) result &= holds(input, in.data[input]);
      return result;
    };
    if (walk.dims == 0) {
      const bool alike =
          all([&](int, const S* start) { return before_aligned(start) == before_aligned(model); });
      return alike ? Reading::kAligned : Reading::kShifted;
    }
    const auto in_packs = [&](int input, const S* start) {
      bool whole = before_aligned(start) == 0 && walk.strides[input][0] == 1;
      for (int d = 1; d < walk.dims; ++d) whole &= walk.strides[input][d] % Pack<S>::kCount == 0;
      return whole;
    };
    const bool rows = walk.dims > 1 && walk.sizes[0].size % Pack<S>::kCount == 0 &&
                      before_aligned(model) == 0 && all(in_packs);
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

// f(numbers[0][k], …, numbers[kIn − 1][k])
template <class F, class Numbers, std::size_t... kInput>
__device__ inline auto applied(const F& f, const Numbers& numbers, int k,
                               std::index_sequence<kInput...>) {
  return f(numbers[kInput].numbers[k]...);
}

// Element e of each result is f of element k of `numbers`; f returns a number, Results, or nothing.
template <class S, int kOut, class F, class Numbers, class Places, std::size_t kPlaces>
__device__ inline void apply(const F& f, const Numbers& numbers, int k,
                             Places (&results)[kPlaces]) {
  constexpr std::make_index_sequence<std::extent_v<Numbers>> inputs;
  if constexpr (kOut == 0) {
    applied(f, numbers, k, inputs);
  } else if constexpr (kOut == 1) {
    results[0].numbers[k] = applied(f, numbers, k, inputs);
  } else {
    const Results<S, kOut> all = applied(f, numbers, k, inputs);
#pragma unroll
    for (int output = 0; output < kOut; ++output) results[output].numbers[k] = all.numbers[output];
  }
}

// out = f(in[0], …) of the plan's elements; an output may be one of the inputs. To be called by all
// threads of plan.blocks().
template <class F, class S, int kOut, int kIn>
__device__ inline void sweep(const F& f, const Outputs<S, kOut>& out, const Inputs<S, kIn>& in,
                             const Plan& plan) {
  constexpr int kCount = Pack<S>::kCount;
  constexpr int kResults = kOut == 0 ? 1 : kOut;

  const unsigned each = kPacksAtOnce * blockDim.x;
  const int64_t block = int64_t(blockIdx.x) * each, after = plan.packs - block;
  const int left = after < each ? int(after) : int(each);
  const int64_t start = plan.begin + block * kCount;
  const auto place = [&](int k) { return int(threadIdx.x + k * blockDim.x); };
  Pack<S> packs[kIn][kPacksAtOnce] = {};
  const auto read = [&](auto load) {
#pragma unroll
    for (int k = 0; k < kPacksAtOnce; ++k) {
      if (place(k) >= left) continue;
#pragma unroll
      for (int input = 0; input < kIn; ++input)
        packs[input][k] = load(input, in.data[input], place(k) * kCount);
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
    Pack<S> pack[kIn], result[kResults];
#pragma unroll
    for (int input = 0; input < kIn; ++input) {
      pack[input] = chosen(packs[input], k);
      if (plan.reading != Reading::kGathered) continue;
#pragma unroll
      for (int e = 0; e < kCount; ++e)
        pack[input].numbers[e] = in.data[input][in.walk.offset(input, i + e)];
    }
#pragma unroll
    for (int e = 0; e < kCount; ++e) apply<S, kOut>(f, pack, e, result);
#pragma unroll
    for (int output = 0; output < kOut; ++output) store_pack(out.data[output] + i, result[output]);
  }

  if (blockIdx.x != 0) return;
  const int64_t in_packs = plan.packs * kCount;
  for (int64_t edge = threadIdx.x; edge < plan.count - in_packs; edge += blockDim.x) {
    const int64_t i = edge < plan.begin ? edge : edge + in_packs;
    One<S> number[kIn], result[kResults];
#pragma unroll
    for (int input = 0; input < kIn; ++input)
      number[input] = {{in.data[input][in.walk.dims == 0 ? i : in.walk.offset(input, i)]}};
    apply<S, kOut>(f, number, 0, result);
#pragma unroll
    for (int output = 0; output < kOut; ++output) out.data[output][i] = result[output].numbers[0];
  }
}

}  // namespace activations_ext::cuda
