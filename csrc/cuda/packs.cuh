// Accesses of 16 bytes.
#pragma once

#include <cstring>

#include "storage.cuh"

namespace activations_ext::cuda {

// By value: memory behind a reference would be copied byte by byte.
template <class To, class From>
__device__ inline To reread(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

// One load: a struct of numbers would be loaded number by number.
template <class S>
__device__ inline Pack<S> load_pack(const S* from) {
  return reread<Pack<S>>(*reinterpret_cast<const uint4*>(from));
}

// Evicted first: no kernel here reads it again.
template <class S>
__device__ inline void store_pack(S* to, const Pack<S>& pack) {
  __stcs(reinterpret_cast<uint4*>(to), reread<uint4>(pack));
}

// The 16 bytes at `from`, wherever it stands: two loads, of which a neighbouring thread does one
// too. They touch up to 15 bytes before and behind.
template <class S>
__device__ inline Pack<S> load_shifted_pack(const S* from) {
  const auto address = reinterpret_cast<uintptr_t>(from);
  const unsigned past = address % sizeof(uint4);
  const auto* const aligned = reinterpret_cast<const uint4*>(address - past);
  const uint4 low = aligned[0], high = aligned[1];
  const unsigned words[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
  // In steps of two words and one: an index that is not known would put them into memory.
  unsigned by_two[6], by_one[5];
#pragma unroll
  for (int i = 0; i < 6; ++i) by_two[i] = past & 8 ? words[i + 2] : words[i];
#pragma unroll
  for (int i = 0; i < 5; ++i) by_one[i] = past & 4 ? by_two[i + 1] : by_two[i];
  const unsigned bits = past % 4 * 8;
  const auto word = [&](int i) { return __funnelshift_r(by_one[i], by_one[i + 1], bits); };
  return reread<Pack<S>>(uint4{word(0), word(1), word(2), word(3)});
}

template <class Unit, class S>
__device__ inline Unit load_unit(const S* from) {
  if constexpr (Unit::kCount > 1) return load_pack(from);
  if constexpr (Unit::kCount == 1) return Unit{{*from}};
}
template <class Unit, class S>
__device__ inline void store_unit(S* to, const Unit& unit) {
  if constexpr (Unit::kCount > 1) return store_pack(to, unit);
  *to = unit.numbers[0];
}

// Packs at multiples of kCount of `count` elements, at any alignment. Elements after the last read
// as 0 and are not written.
template <class S>
struct Stretch {
  using Number = std::remove_const_t<S>;
  static constexpr int kCount = Pack<Number>::kCount;
  S* data;
  int64_t count;

  __device__ bool in_packs(int64_t i) const {
    return i + kCount <= count && reinterpret_cast<uintptr_t>(data) % sizeof(uint4) == 0;
  }
  __device__ Pack<Number> load(int64_t i) const {
    if (in_packs(i)) return load_pack(data + i);
    if (i >= kCount && i + 2 * kCount <= count) return load_shifted_pack(data + i);
    Pack<Number> pack = {};
#pragma unroll
    for (int k = 0; k < kCount; ++k)
      if (i + k < count) pack.numbers[k] = data[i + k];
    return pack;
  }
  __device__ void store(int64_t i, const Pack<Number>& pack) const {
    if (in_packs(i)) return store_pack(data + i, pack);
#pragma unroll
    for (int k = 0; k < kCount; ++k)
      if (i + k < count) data[i + k] = pack.numbers[k];
  }
};

}  // namespace activations_ext::cuda
