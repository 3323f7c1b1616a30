// The row sweep on the CPU: how the rows of up to three matrices become blocks of vectors.
//
// If the classes of a row are contiguous and many, the lanes of a vector are classes, and one row
// follows another (OneRow). Otherwise the lanes are rows, as many at a time as a vector has lanes
// (SomeRows); what cannot be loaded as a vector goes through a small transposed copy.
#pragma once

#include <algorithm>
#include <array>
#include <tuple>

#include "../simd/transpose.h"
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
  V load_a(int64_t i) const { return loaded(a + at(i, a_step)); }
  V load_b(int64_t i) const { return loaded(b + at(i, b_step)); }
  // Which classes of the block vector i has.
  V place(int64_t i) const {
    V lane = V(0.0);
    if constexpr (!kRows)
      for (int k = 0; k < kLanes<S>; ++k) lane.native[k] = k;
    return lane + V(double(at(i, 1)));
  }
  // Of the numbers that each class has.
  template <class Number>
  V of_class(const Number* numbers, int64_t i) const {
    if constexpr (kRows) return V(double(numbers[first + i]));
    return load(numbers + first + i * kLanes<S>);
  }
  // Vector i in a copy of the group: a number of each class, or of each class and lane.
  template <class Number>
  void keep(Number* copy, int64_t i, V x) const {
    if constexpr (kPartial) return store_first(in_copy(copy, i), x, valid);
    store<false>(in_copy(copy, i), x);
  }
  template <class Number>
  V kept(const Number* copy, int64_t i) const {
    return loaded(in_copy(copy, i));
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
  // Asks for the line of the output that vector i will be stored to. Stores are made in order:
  // those that follow one to a line that is far away wait with it.
  void prefetch_output(int64_t i) const {
    if constexpr (!kRows && !kPartial) __builtin_prefetch(out + at(i, out_step), /*rw=*/1);
  }
  // write(i) into the output. Streamed vectors are whole, and lie in aligned memory.
  template <bool kStream, class Write>
  void put_all(Write write) const {
    if constexpr (kPartial) return store_first(out, write(0), valid);
    for (int64_t i = 0; i < count; ++i) store<kStream && !kRows>(out + at(i, out_step), write(i));
  }

 private:
  template <class Number>
  Number* in_copy(Number* copy, int64_t i) const {
    return copy + (kRows ? (first + i) * kLanes<S> : first + i * kLanes<S>);
  }
  template <class Number>
  V loaded(const Number* from) const {
    if constexpr (kPartial) return load_first(from, valid);
    return load(from);
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

// A group of rows: for_each_block<kWrite, kStream>(work) calls work(block) for every block.
// With kWrite `work` has to write its output, without it must not. Without kStream the blocks
// depend on the number of classes alone.
template <class S>
struct OneRow {
  using V = ComputeVec<S>;
  static constexpr int64_t kInCache = 1024;  // classes, for a second pass
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
    S* const out = operands.out.row(first_row);
    const auto from = [](auto* row, int64_t first) { return row == nullptr ? row : row + first; };
    const auto partial = [&](int64_t first, int64_t valid) {
      work(Block<S, false, true>{a + first, from(b, first), from(out, first), 0, 0, 0, first, 1,
                                 int(valid)});
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
      work(Block<S, false, false>{a + first, from(b, first), from(out, first), 0, 0, 0, first,
                                  count, kWidth});
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
  static constexpr int64_t kInCache = kFewClasses;  // one block
  static constexpr int kWidth = kLanes<S>;

  // Transposed copies of a block of a, b and out. They stay: two passes over one block copy once.
  struct alignas(64) Tiles {
    S a[kFewClasses * kWidth], b[kFewClasses * kWidth], out[kFewClasses * kWidth];
    int64_t first = -1;  // class of the block that is there
  };

  const Operands<S>& operands;
  int64_t classes, first_row;
  int rows;  // at most kWidth
  Tiles& tiles;
  static constexpr bool kMixed = true;

  template <class Combine>
  static V over_classes(V x, Combine) {
    return x;
  }

  template <bool kWrite, bool kStream = false, class Work>
  void for_each_block(Work work) const {
    const auto& [a, b, out] = operands;
    const bool direct = kWrite && is_vector(out);
    for (int64_t first = 0; first < classes; first += kFewClasses) {
      const int64_t count = std::min(kFewClasses, classes - first);
      Block<S, true, false> block = {};
      block.first = first;
      block.count = count;
      block.valid = kWidth;
      std::tie(block.a, block.a_step) = staged(a, tiles.a, first, count);
      if (b.data != nullptr) std::tie(block.b, block.b_step) = staged(b, tiles.b, first, count);
      tiles.first = first;
      block.out = direct ? out.row(first_row) + first * out.at.class_stride : tiles.out;
      block.out_step = direct ? out.at.class_stride : kWidth;
      work(block);
      if (kWrite && !direct) write_back(tiles.out, first, count);
    }
  }

 private:
  template <class Pointer>
  bool is_vector(const TypedMatrix<Pointer>& matrix) const {
    return rows == kWidth && matrix.rows_side_by_side(first_row, kWidth);
  }
  // Columns side by side are transposed in registers, unless they are too few to be worth it.
  static bool in_squares(int64_t stride, int64_t count) {
    constexpr int kFewest = kLoadsFirst<S> ? 4 : kWidth;
    return stride == 1 && count >= kFewest;
  }
  // work(c, columns) for squares of columns from c on: all are whole, and the last two may overlap,
  // or there is only one.
  template <class Work>
  static void for_squares(int64_t count, Work work) {
    if (count < kWidth) return work(0, int(count));
    for (int64_t c = 0; c < count; c += kWidth) work(std::min(c, count - kWidth), kWidth);
  }
  // Where a block is or, transposed, has been copied to, and the distance of its vectors. Lanes
  // without a row repeat the last one.
  std::pair<const S*, int64_t> staged(const TypedMatrix<const S*>& matrix, S* tile, int64_t first,
                                      int64_t count) const {
    const int64_t stride = matrix.at.class_stride;
    if (is_vector(matrix)) return {matrix.row(first_row) + first * stride, stride};
    if (tiles.first == first) return {tile, kWidth};
    const auto starts = matrix.template some_rows<kWidth>(first_row, rows);
    if (in_squares(stride, count)) {
      for_squares(count, [&](int64_t c, int columns) {
        V square[kWidth];
        for (int lane = 0; lane < kWidth; ++lane) {
          const S* const from = starts[lane] + first + c;
          square[lane] = columns == kWidth ? load(from) : load_first(from, columns);
        }
        transpose(square);
        for (int k = 0; k < columns; ++k) store<false>(tile + (c + k) * kWidth, square[k]);
      });
      return {tile, kWidth};
    }
    for (int64_t c = 0; c < count; ++c)
      store_collected(tile + c * kWidth, starts, (first + c) * stride);
    return {tile, kWidth};
  }
  void write_back(const S* tile, int64_t first, int64_t count) const {
    const int64_t stride = operands.out.at.class_stride;
    const auto starts = operands.out.template some_rows<kWidth>(first_row, rows);
    if (in_squares(stride, count)) {
      return for_squares(count, [&](int64_t c, int columns) {
        V square[kWidth] = {};
        for (int k = 0; k < columns; ++k) square[k] = load(tile + (c + k) * kWidth);
        transpose(square);
        for (int r = 0; r < rows; ++r) {
          S* const to = starts[r] + first + c;
          columns == kWidth ? store<false>(to, square[r]) : store_first(to, square[r], columns);
        }
      });
    }
    for (int r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < count; ++c) starts[r][(first + c) * stride] = tile[c * kWidth + r];
    }
  }
};

// The rows of a group as lanes: lane r is row first_row + r, and lanes without a row repeat the
// last one.
template <class S, class Group>
struct RowLanes {
  using V = ComputeVec<S>;
  using Number = typename V::Number;
  static constexpr int kWidth = kLanes<S>;

  const Group& group;

  int64_t row(int lane) const { return group.first_row + std::min(lane, group.rows - 1); }

  // Of an array with a number for each row; nullptr is 0.
  V read(const void* numbers) const {
    const auto* from = static_cast<const Number*>(numbers);
    if (from == nullptr) return V(0.0);
    if constexpr (!Group::kMixed) return V(double(from[group.first_row]));
    if (group.rows == kWidth) return load(from + group.first_row);
    alignas(64) Number lanes[kWidth];
    for (int lane = 0; lane < kWidth; ++lane) lanes[lane] = from[row(lane)];
    return load(lanes);
  }
  void write(void* numbers, V x) const {
    if (numbers == nullptr) return;
    Number* to = static_cast<Number*>(numbers) + group.first_row;
    if (group.rows == kWidth) return cpu::store<false>(to, x);
    for (int lane = 0; lane < group.rows; ++lane) to[lane] = x.native[lane];
  }
};

template <class S>
bool is_one_row(const RowShape& shape, const Operands<S>& operands, int64_t few = kFewClasses) {
  return operands.a.classes_side_by_side() && operands.b.classes_side_by_side() &&
         operands.out.classes_side_by_side() && shape.classes > few;
}

// work(group) for the rows [begin, end), one at a time if they have more than `few` classes side by
// side, else as many as a vector has lanes.
template <class S, class Work>
void for_each_group(const RowShape& shape, const Operands<S>& operands, int64_t begin, int64_t end,
                    Work work, int64_t few = kFewClasses) {
  if (is_one_row(shape, operands, few)) {
    for (int64_t r = begin; r < end; ++r) work(OneRow<S>{operands, shape.classes, r});
    return;
  }
  typename SomeRows<S>::Tiles tiles;
  for (int64_t r = begin; r < end; r += kLanes<S>) {
    const int rows = int(std::min<int64_t>(kLanes<S>, end - r));
    tiles.first = -1;
    work(SomeRows<S>{operands, shape.classes, r, rows, tiles});
  }
}

}  // namespace activations_ext::cpu
