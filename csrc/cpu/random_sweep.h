// The random sweep on the CPU: a pointwise map with one uniform number for each element.
#pragma once

#include "../activations/rrelu.h"
#include "../activations/shift_dropout.h"
#include "kernels.h"
#include "philox.h"
#include "sweep.h"

namespace activations_ext::cpu {

// Loads `from` into the vector type that computes for S.
template <class S>
inline ComputeVec<S> load_uniform(const float* from) {
  if constexpr (std::is_same_v<S, double>) {
    typedef float Floats __attribute__((vector_size(kVectorBytes / 2)));
    Floats floats;
    std::memcpy(&floats, from, sizeof(floats));
    return __builtin_convertvector(floats, Vec<double>::Native);
  } else {
    return load(from);
  }
}

// Fetches the elements of a part of the chunk at `begin`, while its numbers are drawn.
template <class S>
inline void prefetch(const Arrays<S, 1, 2>& at, int64_t begin, int part) {
  constexpr int kPart = kRandomChunk / kPartsOfChunk, kLine = 64 / sizeof(S);
  for (int64_t i = begin + part * kPart; i < begin + (part + 1) * kPart; i += kLine) {
    __builtin_prefetch(at.out[0] + i, /*rw=*/1);
    for (const S* in : at.in) __builtin_prefetch(in + i);
  }
}

// `first` is the tensor's index of the first element, a multiple of kRandomChunk.
template <class A, class S>
[[gnu::flatten]] void random_map(const void* activation, char* const* operands, uint64_t seed,
                                 int64_t first, int64_t count) {
  using V = ComputeVec<S>;
  const A local = *static_cast<const A*>(activation);
  const Arrays<S, 1, 2> at(operands);
  alignas(64) float uniform[kRandomChunk];  // whole vectors
  for (int64_t begin = 0; begin < count; begin += kRandomChunk) {
    fill_uniform(uniform, seed, (first + begin) / kRandomChunk,
                 [&](int part) { prefetch(at, begin, part); });
    sweep<false>(at, begin, std::min<int64_t>(begin + kRandomChunk, count),
                 [&](int64_t i, V x, V gate) {
                   return local.value(x, gate, load_uniform<S>(uniform + (i - begin)));
                 });
  }
}

template <class S>
void fill_table(RandomKernel (&table)[RandomActivations::kSize][kNumbers], Number number) {
  RandomActivations::for_each(
      [&]<class A>() { table[RandomActivations::index_of<A>()][int(number)] = &random_map<A, S>; });
}

}  // namespace activations_ext::cpu
