// The first pass over rows, which computes their RowSums.
#pragma once

#include "../losses/row_sums.h"
#include "row_sweep.h"

namespace activations_ext::cpu {

// The largest logit of each lane.
template <class Block, class V = typename Block::V>
inline V largest(const Block& block) {
  constexpr int kChains = 4;  // hides the latency of a maximum
  V top[kChains];
  for (V& one : top) one = V(-std::numeric_limits<double>::infinity());
  int64_t i = 0;
  for (; i + kChains <= block.count; i += kChains) {
    for (int chain = 0; chain < kChains; ++chain)
      top[chain] = larger(top[chain], block.load_a(i + chain));
  }
  for (; i < block.count; ++i) top[0] = larger(top[0], block.load_a(i));
  return larger(larger(top[0], top[1]), larger(top[2], top[3]));
}

// The same inside of the row. map(x), of a logit, must not decrease.
template <class Block, class Map, class V = typename Block::V>
inline V largest(const Block& block, Map map) {
  return block.inside(map(largest(block)), -std::numeric_limits<double>::infinity());
}

// Of lanes that belong to the same row.
template <class Group, class V = typename Group::V>
inline V largest_of_lanes(const Group& group, V x) {
  return group.over_classes(x, [](V a, V b) { return larger(a, b); });
}

// The largest logit of a row, mapped.
template <class Group, class Map, class V = typename Group::V>
inline V largest_of_row(const Group& group, Map map) {
  V top = -infinity<V>();
  group.template for_each_block<false>(
      [&](const auto& block) { top = larger(top, largest(block, map)); });
  return largest_of_lanes(group, top);
}

// Adds a block none of whose logits exceeds the maximum. y(block, i) are the targets of
// vector i. kAll: not `maximum` and `sum` alone. kStored: an output of the same place is stored to
// next.
template <bool kAll, bool kStored, class Block, class Map, class Y, class V = typename Block::V>
inline void add_block(RowSums<V>& sums, const Block& block, Map map, Y y) {
  // The sums of a block by themselves: adding many small numbers to a large one loses digits.
  const V m = sums.reference();
  V sum = V(0.0), spread = V(0.0), dot = V(0.0), mass = V(0.0);
  for (int64_t i = 0; i < block.count; ++i) {
    block.prefetch_next(i);
    if constexpr (kStored) block.prefetch_output(i);
    const V difference = map(block.load_a(i)) - m;
    const Shifted<V> shifted(difference);
    const V e = block.inside(shifted.e, 0.0);
    sum = sum + e;
    if constexpr (kAll) {
      const V weight = y(block, i);
      spread = madd(e, shifted.d, spread);
      dot = dot + block.inside(weight * difference, 0.0);
      mass = mass + block.inside(weight, 0.0);
    }
  }
  sums.sum = sums.sum + sum;
  if constexpr (kAll) {
    sums.spread = sums.spread + spread;
    sums.dot = sums.dot + dot;
    sums.mass = sums.mass + mass;
  }
}

template <bool kAll, bool kStored = false, class Group, class Map, class Y,
          class V = typename Group::V>
inline RowSums<V> sums_of(const Group& group, Map map, Y y) {
  RowSums<V> sums;
  const auto total = [&](V x) { return group.over_classes(x, [](V a, V b) { return a + b; }); };
  if (group.classes <= Group::kInCache) {  // the maximum first
    sums.maximum = largest_of_row(group, map);
    group.template for_each_block<false>(
        [&](const auto& block) { add_block<kAll, kStored>(sums, block, map, y); });
  } else {
    group.template for_each_block<false>([&](const auto& block) {
      sums.template rise<kAll>(larger(sums.maximum, largest(block, map)));
      add_block<kAll, kStored>(sums, block, map, y);
    });
    sums.template rise<kAll>(largest_of_lanes(group, sums.maximum));
  }
  sums.sum = total(sums.sum);
  if constexpr (kAll) {
    sums.spread = total(sums.spread);
    sums.dot = total(sums.dot);
    sums.mass = total(sums.mass);
  }
  return sums;
}

}  // namespace activations_ext::cpu
