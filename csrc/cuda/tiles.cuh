// The rows of a block, which are one stretch of memory, in shared memory: there, a thread may read
// a row of its own.
#pragma once

#include "rows.cuh"

namespace activations_ext::cuda {

template <class S, class Team>
class Tile {
 public:
  // The `which`-th of a block.
  __device__ Tile(const RowShape& shape, int which)
      : data_(reinterpret_cast<S*>(dynamic_shared()) + which * numbers(shape.classes)),
        rows_(shape.rows),
        classes_(int(shape.classes)),
        pitch_(pitch(shape.classes)) {}

  static int64_t bytes(int64_t classes, int tiles) {
    return tiles * numbers(classes) * int64_t(sizeof(S));
  }

  // By all threads of the block.
  __device__ void load(const S* from) const {
    from += begin();
    for_each_pack([&](int i, int at, int column) {
      const Pack<S> pack = load_pack(from + i);
      each_place(at, column, [&](int place, int k) { data_[place] = pack.numbers[k]; });
    });
    for_each_other([&](int i, int place) { data_[place] = from[i]; });
    __syncthreads();  // all are there
  }
  __device__ void store(S* to) const {
    __syncthreads();  // all have been written
    to += begin();
    for_each_pack([&](int i, int at, int column) {
      Pack<S> pack;
      each_place(at, column, [&](int place, int k) { pack.numbers[k] = data_[place]; });
      store_pack(to + i, pack);
    });
    for_each_other([&](int i, int place) { to[i] = data_[place]; });
    __syncthreads();  // all have been read
  }
  // Of this thread's team.
  __device__ S* row() const { return data_ + int(threadIdx.x) / Team::kThreads * pitch_; }

 private:
  static constexpr int kCount = Pack<S>::kCount;

  // Neighbouring rows start in different banks, which are 4 bytes wide.
  __host__ __device__ static int pitch(int64_t classes) {
    constexpr int kInBank = sizeof(S) < 4 ? 4 / int(sizeof(S)) : 1;
    return int((classes + kInBank - 1) / kInBank | 1) * kInBank;
  }
  __host__ __device__ static int64_t numbers(int64_t classes) {
    return (int64_t(Team::kTeams) * pitch(classes) + 15) / 16 * 16;
  }

  __device__ int64_t first_row() const { return int64_t(blockIdx.x) * Team::kTeams; }
  __device__ int64_t begin() const { return first_row() * classes_; }
  __device__ int count() const {
    const int64_t left = rows_ - first_row();
    return int(left < Team::kTeams ? left : Team::kTeams) * classes_;
  }

  // visit(i, where number i is, its column) for this thread's packs.
  template <class Visit>
  __device__ void for_each_pack(Visit visit) const {
    for (int i = int(threadIdx.x) * kCount; i + kCount <= count(); i += kRowThreads * kCount) {
      const int row = i / classes_, column = i - row * classes_;
      visit(i, row * pitch_ + column, column);
    }
  }
  // visit(place, k) for the numbers of a pack, which may be in several rows.
  template <class Visit>
  __device__ void each_place(int at, int column, Visit visit) const {
#pragma unroll
    for (int k = 0; k < kCount; ++k) {
      visit(at, k);
      ++at;
      if (++column == classes_) at += pitch_ - classes_, column = 0;
    }
  }
  // visit(i, where it is) for numbers behind the last pack.
  template <class Visit>
  __device__ void for_each_other(Visit visit) const {
    const int i = count() / kCount * kCount + int(threadIdx.x);
    if (i < count()) visit(i, i / classes_ * pitch_ + i % classes_);
  }

  S* data_;
  int64_t rows_;
  int classes_, pitch_;
};

}  // namespace activations_ext::cuda
