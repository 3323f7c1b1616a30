// As many rows of a matrix as a vector has lanes, column by column.
#pragma once

#include "row_sweep.h"

namespace activations_ext::cpu {

// Lanes without a row repeat the last one.
template <class Pointer>
struct SomeStarts {
  using S = std::remove_const_t<std::remove_pointer_t<Pointer>>;
  using V = ComputeVec<S>;
  static constexpr int kWidth = kLanes<S>;
  std::array<Pointer, kWidth> starts;
  int rows;

  template <class Untyped>
  SomeStarts(Strided<Untyped> matrix, int64_t first_row, int rows) : rows(rows) {
    for (int lane = 0; lane < kWidth; ++lane)
      starts[lane] = static_cast<Pointer>(matrix.data) +
                     (first_row + std::min(lane, rows - 1)) * matrix.stride;
  }
  // Columns [first, first + count), at most kWidth of them; a vector is a column.
  void load_columns(int64_t first, int64_t count, V (&columns)[kWidth]) const {
    if (count == kWidth) {
      for (int lane = 0; lane < kWidth; ++lane) columns[lane] = load(starts[lane] + first);
      return transpose(columns);
    }
    for (int64_t k = 0; k < count; ++k) {
      alignas(64) S lanes[kWidth];
      store_collected<S>(lanes, starts, first + k);
      columns[k] = load(lanes);
    }
  }
  void store_columns(int64_t first, int64_t count, V (&columns)[kWidth]) const {
    if (count == kWidth) {
      transpose(columns);
      for (int lane = 0; lane < rows; ++lane) store<false>(starts[lane] + first, columns[lane]);
      return;
    }
    for (int64_t k = 0; k < count; ++k) {
      alignas(64) S lanes[kWidth];
      store<false>(lanes, columns[k]);
      for (int lane = 0; lane < rows; ++lane) starts[lane][first + k] = lanes[lane];
    }
  }
  // All of `columns` columns, into as many vectors.
  void load_all(int64_t columns, V* to) const {
    for_columns(columns, [&](int64_t first, int64_t count) {
      V some[kWidth];
      load_columns(first, count, some);
      std::copy(some, some + count, to + first);
    });
  }
  void store_all(int64_t columns, const V* from) const {
    for_columns(columns, [&](int64_t first, int64_t count) {
      V some[kWidth];
      std::copy(from + first, from + first + count, some);
      store_columns(first, count, some);
    });
  }

  // work(first, count) for as many columns at a time as a vector has lanes.
  template <class Work>
  static void for_columns(int64_t columns, Work work) {
    for (int64_t first = 0; first < columns; first += kWidth)
      work(first, std::min<int64_t>(kWidth, columns - first));
  }
};

}  // namespace activations_ext::cpu
