// Square matrices in SIMD registers.
#pragma once

#include "vec.h"

namespace activations_ext::cpu {

// work(distance) for halves, quarters, … of a vector.
template <class V, class Work>
[[gnu::always_inline]] inline void for_distances(Work work) {
  if constexpr (V::kLanes > 8) work(std::integral_constant<int, 8>());
  if constexpr (V::kLanes > 4) work(std::integral_constant<int, 4>());
  if constexpr (V::kLanes > 2) work(std::integral_constant<int, 2>());
  work(std::integral_constant<int, 1>());
}

// The lanes of `a` that are `distance` on, and those of `b` that are not, change places.
template <int kDistance, class V>
[[gnu::always_inline]] inline void exchange(V& a, V& b) {
  [&]<int... kLane>(std::integer_sequence<int, kLane...>) {
    constexpr int kLanes = V::kLanes;
    const auto first = a.native, second = b.native;
    a = V(__builtin_shufflevector(first, second,
                                  (kLane & kDistance ? kLanes + kLane - kDistance : kLane)...));
    b = V(__builtin_shufflevector(first, second,
                                  (kLane & kDistance ? kLanes + kLane : kLane + kDistance)...));
  }(std::make_integer_sequence<int, V::kLanes>());
}

// Row i, column k becomes row k, column i: in halves, quarters, …
template <class V>
[[gnu::always_inline]] inline void transpose(V (&rows)[V::kLanes]) {
  for_distances<V>([&]<int kDistance>(std::integral_constant<int, kDistance>) {
#pragma GCC unroll 16
    for (int i = 0; i < V::kLanes; ++i) {
      if ((i & kDistance) == 0) exchange<kDistance>(rows[i], rows[i + kDistance]);
    }
  });
}

// Lane i is the sum of the lanes of rows[i].
template <class V>
[[gnu::always_inline]] inline V sums_of_lanes(V (&rows)[V::kLanes]) {
  for_distances<V>([&]<int kDistance>(std::integral_constant<int, kDistance>) {
#pragma GCC unroll 16
    for (int i = 0; i < kDistance; ++i) {
      exchange<kDistance>(rows[i], rows[i + kDistance]);
      rows[i] = rows[i] + rows[i + kDistance];
    }
  });
  return rows[0];
}

}  // namespace activations_ext::cpu
