// The row sweep on the CPU: how the rows of up to three matrices become blocks of vectors.
//
// If the classes of a row are contiguous and many, the lanes of a vector are classes, and one row
// follows another (OneRow). Otherwise the lanes are rows, as many at a time as a vector has lanes
// (SomeRows); what cannot be loaded as a vector goes through a small transposed copy.
#pragma once

#include <algorithm>
#include <array>
#include <tuple>

#include "kernels.h"
#include "storage.h"

namespace activations_ext::cpu {

// Vectors in one block of a long row: both passes over a block find it in the first-level cache.
constexpr int64_t kBlockVectors = 128;

template <class S>
constexpr int kLanes = ComputeVec<S>::kLanes;

// `count` vectors of the inputs a and b and of the output, from class `first` on. With kRows the
// lanes are rows and vector i is class first + i; without it the lanes are classes. With kPartial
// only the first `valid` lanes are classes of the row, and the numbers in the others are 0.
template <class S, bool kRows, bool kPartial>
struct Block {
  using V = ComputeVec<S>;
  static constexpr bool kIsPartial = kPartial;

  const S *a, *b;
  S* out;
  int64_t a_step, b_step, out_step;
  int64_t first, count;
  int valid;

  static int64_t at(int64_t i, int64_t step) { return i * (kRows ? step : kLanes<S>); }
  V load_a(int64_t i) const { return load(a + at(i, a_step)); }
  V load_b(int64_t i) const { return load(b + at(i, b_step)); }
  // Of the numbers that each class has.
  template <class Number>
  V of_class(const Number* numbers, int64_t i) const {
    if constexpr (kRows) return V(double(numbers[first + i]));
    return load(numbers + first + i * kLanes<S>);
  }
  // x, or `outside` in lanes that are none of the row.
  V inside(V x, double outside) const {
    if constexpr (kPartial) return where(first_lanes<typename V::Number>(valid), x, V(outside));
    return x;
  }
  // The same place in the next block.
  void prefetch_next(int64_t i) const {
    if constexpr (!kRows && !kPartial) __builtin_prefetch(a + at(count + i, a_step));
  }
  // write(i) into the output. Streamed vectors are whole, and lie in aligned memory.
  template <bool kStream, class Write>
  void put_all(Write write) const {
    for (int64_t i = 0; i < count; ++i)
      store<kStream && !kRows && !kPartial>(out + at(i, out_step), write(i));
  }
};

template <class Pointer>
struct TypedMatrix {
  Pointer data = nullptr;
  RowLayout at = {};
  int64_t inner = 1;

  TypedMatrix() = default;
  template <class Untyped>
  TypedMatrix(Matrix<Untyped> matrix, const RowShape& shape)
      : data(static_cast<Pointer>(matrix.data)), at(matrix.at), inner(shape.inner) {}

  Pointer row(int64_t r) const {
    if (data == nullptr) return nullptr;
    return data + r / inner * at.outer_stride + r % inner * at.inner_stride;
  }
  // The starts of kWidth rows; beyond `count` of them that of the last one. One division for all.
  template <int kWidth>
  std::array<Pointer, kWidth> some_rows(int64_t first_row, int count) const {
    std::array<Pointer, kWidth> starts;
    int64_t outer = first_row / inner, within = first_row % inner;
    for (int lane = 0; lane < kWidth; ++lane) {
      starts[lane] = data + outer * at.outer_stride + within * at.inner_stride;
      if (lane + 1 >= count) continue;
      if (++within == inner) within = 0, ++outer;
    }
    return starts;
  }
  bool classes_side_by_side() const { return data == nullptr || at.class_stride == 1; }
  // `lanes` rows, side by side.
  bool rows_side_by_side(int64_t first_row, int lanes) const {
    return at.inner_stride == 1 && first_row % inner + lanes <= inner;
  }
};

// b and out may be without data.
template <class S>
struct Operands {
  TypedMatrix<const S*> a, b;
  TypedMatrix<S*> out;
};

// A group of rows: for_each_block<kWrite, kStream>(work) calls work(block) for every block, with an
// output if kWrite.
template <class S>
struct OneRow {
  using V = ComputeVec<S>;
  static constexpr int kWidth = kLanes<S>;

  const Operands<S>& operands;
  int64_t classes, first_row;
  static constexpr int rows = 1;
  static constexpr bool kMixed = false;  // lanes of more than one row

  // combine() of all lanes that are classes of one row.
  template <class Combine>
  static V over_classes(V x, Combine combine) {
    return over_lanes(x, combine);
  }

  template <bool kWrite, bool kStream = false, class Work>
  void for_each_block(Work work) const {
    const S *const a = operands.a.row(first_row), *const b = operands.b.row(first_row);
    S* const out = kWrite ? operands.out.row(first_row) : nullptr;
    const auto partial = [&](int64_t first, int64_t valid) {
      S x[kWidth] = {}, y[kWidth] = {}, z[kWidth];
      std::copy(a + first, a + first + valid, x);
      if (b != nullptr) std::copy(b + first, b + first + valid, y);
      work(Block<S, false, true>{x, y, z, 0, 0, 0, first, 1, int(valid)});
      if (kWrite) std::copy(z, z + valid, out + first);
    };
    int64_t first = 0;
    if (kStream) {
      constexpr std::size_t kBytes = kWidth * sizeof(S);
      const std::size_t over = reinterpret_cast<uintptr_t>(out) % kBytes;
      if (over != 0) {
        first = std::min(classes, int64_t((kBytes - over) / sizeof(S)));
        partial(0, first);
      }
    }
    while (classes - first >= kWidth) {
      const int64_t count = std::min(kBlockVectors, (classes - first) / kWidth);
      work(Block<S, false, false>{a + first, b == nullptr ? nullptr : b + first,
                                  kWrite ? out + first : nullptr, 0, 0, 0, first, count, kWidth});
      first += count * kWidth;
    }
    if (first < classes) partial(first, classes - first);
  }
};

// What lies at `offset` from each of the starts, put together in a register: the vector that is
// loaded again at once must not have been written lane by lane.
template <class S, std::size_t kWidth>
inline void store_collected(S* to, const std::array<const S*, kWidth>& starts, int64_t offset) {
  using Bits = std::conditional_t<sizeof(S) == 2, uint16_t, S>;
  typedef Bits Lanes __attribute__((vector_size(kWidth * sizeof(S))));
  const auto lanes = [&]<std::size_t... kLane>(std::index_sequence<kLane...>) {
    return Lanes{std::bit_cast<Bits>(starts[kLane][offset])...};
  }(std::make_index_sequence<kWidth>());
  std::memcpy(to, &lanes, sizeof lanes);
}

template <class S>
struct SomeRows {
  using V = ComputeVec<S>;
  static constexpr int kWidth = kLanes<S>;

  const Operands<S>& operands;
  int64_t classes, first_row;
  int rows;  // at most kWidth
  static constexpr bool kMixed = true;

  template <class Combine>
  static V over_classes(V x, Combine) {
    return x;
  }

  template <bool kWrite, bool kStream = false, class Work>
  void for_each_block(Work work) const {
    alignas(64) S tiles[3][kFewClasses * kWidth];
    const auto& [a, b, out] = operands;
    const bool direct = kWrite && is_vector(out);
    for (int64_t first = 0; first < classes; first += kFewClasses) {
      const int64_t count = std::min(kFewClasses, classes - first);
      Block<S, true, false> block = {};
      block.first = first;
      block.count = count;
      block.valid = kWidth;
      std::tie(block.a, block.a_step) = staged(a, tiles[0], first, count);
      if (b.data != nullptr) std::tie(block.b, block.b_step) = staged(b, tiles[1], first, count);
      block.out = direct ? out.row(first_row) + first * out.at.class_stride : tiles[2];
      block.out_step = direct ? out.at.class_stride : kWidth;
      work(block);
      if (kWrite && !direct) write_back(tiles[2], first, count);
    }
  }

 private:
  template <class Pointer>
  bool is_vector(const TypedMatrix<Pointer>& matrix) const {
    return rows == kWidth && matrix.rows_side_by_side(first_row, kWidth);
  }
  // Where a block is or, transposed, has been copied to, and the distance of its vectors. Lanes
  // without a row repeat the last one.
  std::pair<const S*, int64_t> staged(const TypedMatrix<const S*>& matrix, S* tile, int64_t first,
                                      int64_t count) const {
    const int64_t stride = matrix.at.class_stride;
    if (is_vector(matrix)) return {matrix.row(first_row) + first * stride, stride};
    const auto starts = matrix.template some_rows<kWidth>(first_row, rows);
    for (int64_t c = 0; c < count; ++c)
      store_collected(tile + c * kWidth, starts, (first + c) * stride);
    return {tile, kWidth};
  }
  void write_back(const S* tile, int64_t first, int64_t count) const {
    const int64_t stride = operands.out.at.class_stride;
    const auto starts = operands.out.template some_rows<kWidth>(first_row, rows);
    for (int r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < count; ++c) starts[r][(first + c) * stride] = tile[c * kWidth + r];
    }
  }
};

// work(group) for the rows [begin, end), one or some at a time.
template <class S, class Work>
void for_each_group(const RowShape& shape, const Operands<S>& operands, int64_t begin, int64_t end,
                    Work work) {
  const bool side_by_side = operands.a.classes_side_by_side() &&
                            operands.b.classes_side_by_side() &&
                            operands.out.classes_side_by_side();
  if (side_by_side && shape.classes > kFewClasses) {
    for (int64_t r = begin; r < end; ++r) work(OneRow<S>{operands, shape.classes, r});
    return;
  }
  for (int64_t r = begin; r < end; r += kLanes<S>) {
    const int rows = int(std::min<int64_t>(kLanes<S>, end - r));
    work(SomeRows<S>{operands, shape.classes, r, rows});
  }
}

}  // namespace activations_ext::cpu
