// The row sweep on CUDA: a team of threads for each row of classes, in packs of 16 bytes.
#pragma once

#include <cstring>

#include "../losses/row_sums.h"
#include "../row_job.h"
#include "storage.cuh"

namespace activations_ext::cuda {

constexpr int kRowThreads = 256;  // of a block, which holds one team or several

// Where the rows of a matrix start.
template <class S>
struct Rows {
  S* data;
  RowLayout at;
  int64_t inner;

  template <class Pointer>
  __host__ __device__ Rows(Matrix<Pointer> matrix, const RowShape& shape)
      : data(static_cast<S*>(matrix.data)), at(matrix.at), inner(shape.inner) {}
  __device__ S* row(int64_t r) const {
    return data + r / inner * at.outer_stride + r % inner * at.inner_stride;
  }
};

// Some consecutive classes of a row.
template <class S>
struct One {
  static constexpr int kCount = 1;
  S numbers[1];
};

template <int kThreads>
struct Team {
  static constexpr int kTeams = kRowThreads / kThreads;  // of a block
  static __device__ int rank() { return int(threadIdx.x) % kThreads; }

  // work(row, there) for the rows of this team. All threads of a block go the same number of
  // rounds, because they wait for each other; where there is no row left, `there` is false and the
  // row is the last.
  template <class Work>
  static __device__ void for_each_row(int64_t rows, Work work) {
    for (int64_t first = int64_t(blockIdx.x) * kTeams; first < rows;
         first += int64_t(gridDim.x) * kTeams) {
      const int64_t row = first + threadIdx.x / kThreads;
      work(row < rows ? row : rows - 1, row < rows);
    }
  }

  // What all threads of the team have, combined in an order that is always the same; everyone gets
  // it. `combine` is commutative.
  template <class T, class Combine>
  static __device__ T combined(T mine, Combine combine) {
    constexpr int kInWarp = kThreads < 32 ? kThreads : 32;
    for (int distance = kInWarp / 2; distance > 0; distance /= 2)
      mine = combine(mine, shuffled(mine, distance));
    if constexpr (kThreads > 32) {
      constexpr int kWarps = kThreads / 32;
      static_assert(kWarps == kRowThreads / 32, "one team a block");
      alignas(16) __shared__ char bytes[kWarps * sizeof(T)];
      T* const of_warp = reinterpret_cast<T*>(bytes);
      if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = mine;
      __syncthreads();
      mine = of_warp[0];
      for (int warp = 1; warp < kWarps; ++warp) mine = combine(mine, of_warp[warp]);
      __syncthreads();  // before anyone writes the next
    }
    return mine;
  }

  // visit(i, numbers) for the classes [begin, end) of a row: each thread some packs, and what
  // stands before and behind them one by one.
  template <class S, class Visit>
  static __device__ void for_each_pack(const S* row, int64_t stride, int64_t begin, int64_t end,
                                       Visit visit) {
    if (stride != 1) {
      for (int64_t i = begin + rank(); i < end; i += kThreads) visit(i, One<S>{{row[i * stride]}});
      return;
    }
    const int64_t head = before_aligned(row + begin), count = end - begin;
    const int64_t first = begin + (head < count ? head : count);
    const int64_t packs = (end - first) / Pack<S>::kCount;
    for (int64_t i = begin + rank(); i < first; i += kThreads) visit(i, One<S>{{row[i]}});
    const auto* const from = reinterpret_cast<const Pack<S>*>(row + first);
#pragma unroll 4
    for (int64_t i = rank(); i < packs; i += kThreads) visit(first + i * Pack<S>::kCount, from[i]);
    for (int64_t i = first + packs * Pack<S>::kCount + rank(); i < end; i += kThreads)
      visit(i, One<S>{{row[i]}});
  }

 private:
  template <class T>
  static __device__ T shuffled(T value, int distance) {
    constexpr int kWords = sizeof(T) / sizeof(unsigned);
    unsigned words[kWords];
    std::memcpy(words, &value, sizeof(T));
    for (int i = 0; i < kWords; ++i) words[i] = __shfl_xor_sync(~0u, words[i], distance);
    std::memcpy(&value, words, sizeof(T));
    return value;
  }
};

// Writes a row as for_each_pack reads another one: in packs where both stand alike in them.
template <class S>
struct RowWriter {
  S* row;
  int64_t stride;
  bool in_packs;

  __device__ RowWriter(S* to, int64_t stride, const S* read)
      : row(to),
        stride(stride),
        in_packs(stride == 1 && before_aligned(to) == before_aligned(read)) {}

  template <class Numbers>
  __device__ void write(int64_t i, const Numbers& numbers) const {
    if (Numbers::kCount > 1 && in_packs) {
      *reinterpret_cast<Numbers*>(row + i) = numbers;
    } else {
      for (int k = 0; k < Numbers::kCount; ++k) row[(i + k) * stride] = numbers.numbers[k];
    }
  }
};

// RowSums of some of a row's logits, and whether one of them is NaN.
template <class T>
struct TeamSums {
  RowSums<T> sums;
  T nan = T(0.0);

  // `f` are kCount logits, `weights` theirs. kAll: not `maximum` and `sum` alone.
  template <bool kAll, int kCount>
  __device__ void add(const T (&f)[kCount], const T (&weights)[kCount]) {
    T highest = sums.maximum;
    for (int k = 0; k < kCount; ++k) {
      highest = where(f[k] > highest, f[k], highest);
      nan = where(f[k] == f[k], nan, f[k]);
    }
    if (highest > sums.maximum) sums.template rise<kAll>(highest);
    const T m = sums.reference();
    T sum(0.0), spread(0.0), dot(0.0), mass(0.0);
    for (int k = 0; k < kCount; ++k) {
      const Shifted<T> shifted(f[k] - m);
      sum = sum + shifted.e;
      if constexpr (kAll) {
        spread = madd(shifted.e, shifted.d, spread);
        dot = madd(weights[k], f[k] - m, dot);
        mass = mass + weights[k];
      }
    }
    sums.sum = sums.sum + sum;
    if constexpr (kAll) {
      sums.spread = sums.spread + spread;
      sums.dot = sums.dot + dot;
      sums.mass = sums.mass + mass;
    }
  }

  template <bool kAll>
  static __device__ TeamSums of_both(TeamSums a, TeamSums b) {
    const T highest = where(a.sums.maximum > b.sums.maximum, a.sums.maximum, b.sums.maximum);
    a.sums.template rise<kAll>(highest);
    b.sums.template rise<kAll>(highest);
    a.sums.sum = a.sums.sum + b.sums.sum;
    a.nan = a.nan + b.nan;
    if constexpr (kAll) {
      a.sums.spread = a.sums.spread + b.sums.spread;
      a.sums.dot = a.sums.dot + b.sums.dot;
      a.sums.mass = a.sums.mass + b.sums.mass;
    }
    return a;
  }
};

// The sums of classes [begin, end) of a row over all threads of the team. `map` makes f of a logit,
// weight(i) is the weight of class i.
template <int kThreads, bool kAll, class S, class Map, class Weight>
__device__ TeamSums<Compute<S>> team_sums(const S* row, int64_t stride, int64_t begin, int64_t end,
                                          Map map, Weight weight) {
  using T = Compute<S>;
  TeamSums<T> mine;
  Team<kThreads>::for_each_pack(row, stride, begin, end, [&](int64_t i, const auto& numbers) {
    constexpr int kCount = std::remove_cvref_t<decltype(numbers)>::kCount;
    T f[kCount], weights[kCount];
    for (int k = 0; k < kCount; ++k) {
      f[k] = map(widened(numbers.numbers[k]));
      weights[k] = kAll ? weight(i + k) : T(0.0);
    }
    mine.template add<kAll>(f, weights);
  });
  return Team<kThreads>::combined(
      mine, [](auto a, auto b) { return TeamSums<T>::template of_both<kAll>(a, b); });
}

}  // namespace activations_ext::cuda
