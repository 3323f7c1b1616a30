// The random sweep on the CPU: a pointwise map with one uniform number for each element.
#pragma once

#include <algorithm>

#include "../activations/rrelu.h"
#include "../activations/shift_dropout.h"
#include "kernels.h"
#include "philox.h"
#include "storage.h"

namespace activations_ext::cpu {

// `from` as the vector that computes for S.
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

// `first` is the tensor's index of out[0], a multiple of kRandomChunk.
template <class A, class S>
void random_map(const void* activation, void* out, const void* a, const void* gate, uint64_t seed,
                int64_t first, int64_t count) {
  const A local = *static_cast<const A*>(activation);
  S* const to = static_cast<S*>(out);
  const S* const x = static_cast<const S*>(a);
  const S* const y = static_cast<const S*>(gate);
  constexpr int64_t kLanes = ComputeVec<S>::kLanes;
  alignas(64) float uniform[kRandomChunk];
  for (int64_t begin = 0; begin < count; begin += kRandomChunk) {
    fill_uniform(uniform, seed, (first + begin) / kRandomChunk);
    const int64_t end = std::min<int64_t>(begin + kRandomChunk, count);
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      const auto u = load_uniform<S>(uniform + (i - begin));
      store<false>(to + i, local.value(load(x + i), load(y + i), u));
    }
    if (i < end) {
      S tail_x[kLanes] = {}, tail_y[kLanes] = {};
      std::copy(x + i, x + end, tail_x);
      std::copy(y + i, y + end, tail_y);
      const auto u = load_uniform<S>(uniform + (i - begin));  // 1024 is a multiple of kLanes
      store<false>(tail_x, local.value(load(tail_x), load(tail_y), u));
      std::copy(tail_x, tail_x + (end - i), to + i);
    }
  }
}

template <class S>
void fill_table(RandomKernel (&table)[RandomActivations::kSize][kNumbers], Number number) {
  RandomActivations::for_each(
      [&]<class A>() { table[RandomActivations::index_of<A>()][int(number)] = &random_map<A, S>; });
}

}  // namespace activations_ext::cpu
