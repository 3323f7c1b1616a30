// The row sweep on CUDA: a team of threads for each row of classes.
#pragma once

#include <algorithm>

#include "../device/row_job.h"
#include "../losses/row_sums.h"
#include "launch_kernel.cuh"
#include "packs.cuh"

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
    if (r < inner) return data + r * at.inner_stride;  // as in most matrices: no division
    return data + r / inner * at.outer_stride + r % inner * at.inner_stride;
  }
};

// How a team traverses its row.
enum class By {
  kPacks,    // all matrices have neighbouring classes, and rows that stand alike in packs
  kNumbers,  // whatever there is
  kColumns   // likewise, where a row's classes are apart and rows are neighbours
};

// The threads of a row are neighbours or, by columns, in different warps: the threads of a warp
// have neighbouring rows, so that memory is read in its order.
template <int kThreadsOfTeam, By kBy = By::kNumbers>
struct Team {
  static constexpr int kThreads = kThreadsOfTeam;
  static constexpr bool kInPacks = kBy == By::kPacks, kApart = kBy == By::kColumns;
  static constexpr int kTeams = kRowThreads / kThreads;  // of a block
  static_assert(kThreads <= 32 || kThreads == kRowThreads, "one team a block");
  static_assert(!kApart || kTeams == 32);

  static __device__ int rank() { return int(threadIdx.x) / (kApart ? 32 : 1) % kThreads; }

  static int64_t blocks(int64_t rows) {
    return std::min<int64_t>((rows + kTeams - 1) / kTeams, 1 << 20);
  }

  // work(row, there) for the rows of this team. All threads of a block go the same number of
  // rounds, because they wait for each other; where there is no row left, `there` is false and the
  // row is the last.
  template <class Work>
  static __device__ void for_each_row(int64_t rows, Work work) {
    for (int64_t first = int64_t(blockIdx.x) * kTeams; first < rows;
         first += int64_t(gridDim.x) * kTeams) {
      const int64_t row = first + (kApart ? threadIdx.x % 32 : threadIdx.x / kThreads);
      work(row < rows ? row : rows - 1, row < rows);
    }
  }

  // Combines the values of all threads of the team in a fixed order, and returns the result to
  // each. `combine` is commutative.
  template <class T, class Combine>
  static __device__ T combined(T mine, Combine combine) {
    if constexpr (kApart) return over_warps<32>(mine, threadIdx.x % 32, combine);
    constexpr int kInWarp = kThreads < 32 ? kThreads : 32;
#pragma unroll
    for (int distance = kInWarp / 2; distance > 0; distance /= 2)
      mine = combine(mine, shuffled(mine, distance));
    if constexpr (kThreads > 32) return over_warps<1>(mine, 0, combine);
    return mine;
  }

 private:
  // Each warp writes kColumns values, of which every thread combines those of `column`.
  template <int kColumns, class T, class Combine>
  static __device__ T over_warps(T mine, int column, Combine combine) {
    constexpr int kWarps = kRowThreads / 32;
    T* const of_warps = reinterpret_cast<T*>(static_shared<int(kWarps * kColumns * sizeof(T))>());
    if (int(threadIdx.x) % 32 < kColumns)
      of_warps[threadIdx.x / 32 * kColumns + threadIdx.x % 32] = mine;
    __syncthreads();
    mine = of_warps[column];
    for (int warp = 1; warp < kWarps; ++warp)
      mine = combine(mine, of_warps[warp * kColumns + column]);
    __syncthreads();  // before anyone writes the next
    return mine;
  }

  template <class T>
  static __device__ T shuffled(T value, int distance) {
    constexpr int kWords = sizeof(T) / sizeof(unsigned);
    unsigned words[kWords];
    std::memcpy(words, &value, sizeof(T));
#pragma unroll
    for (int i = 0; i < kWords; ++i) words[i] = __shfl_xor_sync(~0u, words[i], distance);
    std::memcpy(&value, words, sizeof(T));
    return value;
  }
};

// Combines the values of the blocks of a cluster, which share a row, in a fixed order.
template <class T, class Combine>
__device__ T over_cluster(T mine, Combine combine) {
  T* const of_block = reinterpret_cast<T*>(static_shared<int(sizeof(T))>());
  if (threadIdx.x == 0) *of_block = mine;
  cluster_barrier();
  mine = *shared_of(of_block, 0);
  for (int rank = 1; rank < int(gridDim.y); ++rank)
    mine = combine(mine, *shared_of(of_block, rank));
  cluster_barrier();  // before anyone writes the next or ends
  return mine;
}

// Part `split` of `splits` of a row, in multiples of a pack.
struct Part {
  int64_t begin, end;
  __host__ __device__ static int64_t most(int64_t classes, int splits) {
    return (classes + splits - 1) / splits + 15 & ~int64_t(15);
  }
  __device__ Part(int64_t classes, int splits, int split) {
    const int64_t each = most(classes, splits);
    begin = split * each < classes ? split * each : classes;
    end = begin + each < classes ? begin + each : classes;
  }
};

// Classes [begin, end) of a row, as a team goes through them: packs, and before the first and
// behind the last of them some numbers one by one; numbers only where the classes are apart or few.
template <class S, class Team>
struct Span {
  static constexpr int kCount = Team::kInPacks ? Pack<S>::kCount : 1;
  using Unit = std::conditional_t<Team::kInPacks, Pack<S>, One<S>>;

  int64_t begin, first, end;  // packs from `first` on
  int packs;                  // or numbers

  __device__ Span(const S* row, int64_t begin, int64_t end) : begin(begin), first(begin), end(end) {
    if constexpr (Team::kInPacks) {
      const int64_t head = before_aligned(row + begin);
      first += head < end - begin ? head : end - begin;
    }
    packs = int((end - first) / kCount);
  }
  // The class at which this thread's k-th unit starts, if there is one.
  __device__ bool has(int k) const { return Team::rank() + k * Team::kThreads < packs; }
  __device__ int64_t place(int k) const {
    return first + int64_t(Team::rank() + k * Team::kThreads) * kCount;
  }
  // The same for a number before the packs (side 0) and behind them (side 1).
  __device__ bool has_edge(int side) const {
    return Team::kInPacks && edge(side) < (side == 0 ? first : end);
  }
  __device__ int64_t edge(int side) const {
    return (side == 0 ? begin : first + int64_t(packs) * kCount) + Team::rank();
  }
};

// A row that is read and written in the units of a span, which is another row's where several are
// read at once.
template <class S, class Team>
struct Row {
  using Number = std::remove_const_t<S>;
  using Unit = typename Span<Number, Team>::Unit;
  S* data;
  int64_t stride;

  __device__ S* place(int64_t i) const { return data + (Team::kInPacks ? i : i * stride); }
  __device__ One<Number> one(int64_t i) const { return load_unit<One<Number>>(place(i)); }
  __device__ Unit unit(int64_t i) const { return load_unit<Unit>(place(i)); }
  template <class OneOrPack>
  __device__ void write(int64_t i, const OneOrPack& unit) const {
    store_unit(place(i), unit);
  }
};

// What a thread has of one or several rows at the same classes.
template <class OneOrPack, int kRows>
struct Units {
  static constexpr int kCount = OneOrPack::kCount;
  OneOrPack row[kRows];
};

// Rows that are read together, in the units of a span of the first.
template <class S, class Team, int kRows>
struct RowsOf {
  Row<const S, Team> row[kRows];

  __device__ auto edge(int64_t i) const {
    Units<One<S>, kRows> units;
#pragma unroll
    for (int r = 0; r < kRows; ++r) units.row[r] = row[r].one(i);
    return units;
  }
  __device__ auto units(int64_t i) const {
    Units<typename Span<S, Team>::Unit, kRows> units;
#pragma unroll
    for (int r = 0; r < kRows; ++r) units.row[r] = row[r].unit(i);
    return units;
  }
};

// visit(class, units) for everything that this thread has of a span. Several units are loaded
// before the first of them is visited.
template <class S, class Team, int kRows, class Visit>
__device__ void sweep(const Span<S, Team>& span, const RowsOf<S, Team, kRows>& rows, Visit visit) {
  constexpr int kAhead = Team::kInPacks ? 4 : 8;
#pragma unroll
  for (int side = 0; side < 2; ++side)
    if (span.has_edge(side)) visit(span.edge(side), rows.edge(span.edge(side)));
#pragma unroll 1
  for (int k = 0; span.has(k); k += kAhead) {
    decltype(rows.units(0)) loaded[kAhead];
#pragma unroll
    for (int ahead = 0; ahead < kAhead; ++ahead)
      if (span.has(k + ahead)) loaded[ahead] = rows.units(span.place(k + ahead));
#pragma unroll
    for (int ahead = 0; ahead < kAhead; ++ahead)
      if (span.has(k + ahead)) visit(span.place(k + ahead), loaded[ahead]);
  }
}

// Where rows stay between two passes.
enum class Keep { kInRegisters, kInShared, kNowhere };

template <class S, class Team, Keep kKeep, int kRows>
class TwoLooks {
 public:
  static constexpr int kHeld = Team::kInPacks ? 8 : 16;  // units of a thread, in registers

  __device__ TwoLooks(const Span<S, Team>& span, const RowsOf<S, Team, kRows>& rows)
      : span_(span), rows_(rows) {}

  template <class Visit>
  __device__ void first(Visit visit) {
    if constexpr (kKeep == Keep::kInRegisters) {
#pragma unroll
      for (int side = 0; side < 2; ++side)
        if (span_.has_edge(side)) edges_[side] = rows_.edge(span_.edge(side));
#pragma unroll
      for (int k = 0; k < kHeld; ++k)
        if (span_.has(k)) held_[k] = rows_.units(span_.place(k));
      second(visit);
    } else {
      sweep(span_, rows_, [&](int64_t i, const auto& units) {
        if constexpr (kKeep == Keep::kInShared && units.kCount > 1) *shared(i) = units;
        visit(i, units);
      });
    }
  }
  template <class Visit>
  __device__ void second(Visit visit) const {
    if constexpr (kKeep == Keep::kInRegisters) {
#pragma unroll
      for (int side = 0; side < 2; ++side)
        if (span_.has_edge(side)) visit(span_.edge(side), edges_[side]);
#pragma unroll
      for (int k = 0; k < kHeld; ++k)
        if (span_.has(k)) visit(span_.place(k), held_[k]);
    } else if constexpr (kKeep == Keep::kInShared) {
#pragma unroll
      for (int side = 0; side < 2; ++side)
        if (span_.has_edge(side)) visit(span_.edge(side), rows_.edge(span_.edge(side)));
      for (int k = 0; span_.has(k); ++k) visit(span_.place(k), *shared(span_.place(k)));
    } else {
      sweep(span_, rows_, visit);
    }
  }

 private:
  using Loaded = Units<typename Span<S, Team>::Unit, kRows>;
  // Each thread reads only what it has written: no barrier is needed.
  __device__ Loaded* shared(int64_t i) const {
    return reinterpret_cast<Loaded*>(dynamic_shared()) + int(i - span_.first) / Loaded::kCount;
  }

  Span<S, Team> span_;
  RowsOf<S, Team, kRows> rows_;
  Loaded held_[kKeep == Keep::kInRegisters ? kHeld : 1];
  Units<One<S>, kRows> edges_[2];
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

// Over all threads of a team.
template <class Team, bool kAll, class T>
__device__ TeamSums<T> combined(const TeamSums<T>& mine) {
  return Team::combined(mine,
                        [](auto a, auto b) { return TeamSums<T>::template of_both<kAll>(a, b); });
}

// Over all threads of a row, which several blocks may share: a cluster.
template <class Team, class T, class Combine>
__device__ T over_row(T mine, Combine combine) {
  mine = Team::combined(mine, combine);
  if constexpr (Team::kInPacks && Team::kThreads == kRowThreads) {
    if (gridDim.y > 1) mine = over_cluster(mine, combine);
  }
  return mine;
}

}  // namespace activations_ext::cuda
