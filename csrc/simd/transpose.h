// Square matrices in SIMD registers.
#pragma once

#include "vec.h"

namespace activations_ext::cpu {

// Row i, column k becomes row k, column i: in halves, quarters, …
template <class V>
[[gnu::always_inline]] inline void transpose(V (&rows)[V::kLanes]) {
  constexpr int kLanes = V::kLanes;
  const auto with_distance = [&]<int kDistance, int... kLane>(
                                 std::integer_sequence<int, kLane...>,
                                 std::integral_constant<int, kDistance>) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if (i & kDistance) continue;
      const auto a = rows[i].native, b = rows[i + kDistance].native;
      rows[i] = V(__builtin_shufflevector(
          a, b, (kLane & kDistance ? kLanes + kLane - kDistance : kLane)...));
      rows[i + kDistance] = V(__builtin_shufflevector(
          a, b, (kLane & kDistance ? kLanes + kLane : kLane + kDistance)...));
    }
  };
  const auto lanes = std::make_integer_sequence<int, kLanes>();
  if constexpr (kLanes > 8) with_distance(lanes, std::integral_constant<int, 8>());
  if constexpr (kLanes > 4) with_distance(lanes, std::integral_constant<int, 4>());
  if constexpr (kLanes > 2) with_distance(lanes, std::integral_constant<int, 2>());
  with_distance(lanes, std::integral_constant<int, 1>());
}

}  // namespace activations_ext::cpu
