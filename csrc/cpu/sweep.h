// The elementwise sweep on the CPU over any number of contiguous inputs and outputs. It alone
// handles the tail and stores that bypass the cache. Kernels that use it are marked gnu::flatten: a
// call within the loop would spill the registers.
#pragma once

#include <algorithm>
#include <array>
#include <tuple>
#include <type_traits>
#include <utility>

#include "storage.h"

namespace activations_ext::cpu {

// The addresses of the elements. `operands` holds the outputs, then the inputs.
template <class S, std::size_t kOut, std::size_t kIn>
struct Arrays {
  std::array<S*, kOut> out;
  std::array<const S*, kIn> in;

  Arrays(std::array<S*, kOut> out, std::array<const S*, kIn> in) : out(out), in(in) {}
  explicit Arrays(char* const* operands) {
    for (std::size_t k = 0; k < kOut; ++k) out[k] = reinterpret_cast<S*>(operands[k]);
    for (std::size_t k = 0; k < kIn; ++k) in[k] = reinterpret_cast<const S*>(operands[kOut + k]);
  }
};

namespace detail {

template <class T, std::size_t>
using Repeated = T;

// f of the vectors at element i, as an array of kOut vectors. f(x…) must not depend on the place of
// the vectors; f(i, x…) may.
template <std::size_t kOut, class F, class... V>
inline auto results(const F& f, int64_t i, V... x) {
  using First = std::tuple_element_t<0, std::tuple<V...>>;
  const auto call = [&] {
    if constexpr (std::is_invocable_v<F, V...>) {
      return f(x...);
    } else {
      return f(i, x...);
    }
  };
  if constexpr (kOut == 0) {
    call();
    return std::array<First, 0>();
  } else if constexpr (kOut == 1) {
    return std::array<First, 1>{call()};
  } else {
    return call();
  }
}

template <bool kStream, class S, std::size_t... kO, std::size_t... kI, class F>
inline int64_t vectors(const Arrays<S, sizeof...(kO), sizeof...(kI)>& at, int64_t begin,
                       int64_t end, const F& f, std::index_sequence<kO...>,
                       std::index_sequence<kI...>) {
  using V = ComputeVec<S>;
  constexpr int64_t kLanes = V::kLanes;
  constexpr std::size_t kOut = sizeof...(kO);
  int64_t i = begin;
  if constexpr (std::is_same_v<S, BFloat16> && std::is_invocable_v<F, Repeated<V, kI>...>) {
    for (; i + 2 * kLanes <= end; i += 2 * kLanes) {
      const std::array<EvenOdd, sizeof...(kI)> x = {load_even_odd(at.in[kI] + i)...};
      [[maybe_unused]] const auto even = results<kOut>(f, i, x[kI].even...),
                                  odd = results<kOut>(f, i, x[kI].odd...);
      (store_even_odd<kStream>(at.out[kO] + i, {even[kO], odd[kO]}), ...);
    }
  } else {
    for (; i + kLanes <= end; i += kLanes) {
      [[maybe_unused]] const auto y = results<kOut>(f, i, load(at.in[kI] + i)...);
      (store<kStream>(at.out[kO] + i, y[kO]), ...);
    }
  }
  return i;
}

// The elements after the last whole vector, padded with zeros.
template <class S, std::size_t... kO, std::size_t... kI, class F>
inline void tail(const Arrays<S, sizeof...(kO), sizeof...(kI)>& at, int64_t begin, int64_t end,
                 const F& f, std::index_sequence<kO...>, std::index_sequence<kI...>) {
  constexpr int64_t kLanes = ComputeVec<S>::kLanes;
  for (int64_t i = begin; i < end; i += kLanes) {
    const int64_t count = std::min(kLanes, end - i);
    S padded[sizeof...(kI)][kLanes] = {};
    [[maybe_unused]] S out[kLanes];
    (std::copy(at.in[kI] + i, at.in[kI] + i + count, padded[kI]), ...);
    [[maybe_unused]] const auto y = results<sizeof...(kO)>(f, i, load(padded[kI])...);
    ((store<false>(out, y[kO]), std::copy(out, out + count, at.out[kO] + i)), ...);
  }
}

// One copy for all loops, because formulas are long. Arguments are passed by value, so that the
// caller's stay in registers.
template <class S, std::size_t kOut, std::size_t kIn, class F>
[[gnu::noinline]] void tail_apart(Arrays<S, kOut, kIn> at, int64_t begin, int64_t end, F f) {
  tail(at, begin, end, f, std::make_index_sequence<kOut>(), std::make_index_sequence<kIn>());
}

}  // namespace detail

// Processes only the whole vectors of a sweep. Returns the first remaining element.
template <bool kStream, class S, std::size_t kOut, std::size_t kIn, class F>
inline int64_t sweep_vectors(const Arrays<S, kOut, kIn>& at, int64_t begin, int64_t end,
                             const F& f) {
  return detail::vectors<kStream>(at, begin, end, f, std::make_index_sequence<kOut>(),
                                  std::make_index_sequence<kIn>());
}

// out = f(in) for the elements [begin, end), one vector after another. f takes one vector of each
// input, optionally preceded by the index of their first element. It returns the output's vector,
// an array of several, or nothing if there is no output. The tail is padded with zeros, and f may
// read that far.
template <bool kStream, class S, std::size_t kOut, std::size_t kIn, class F>
inline void sweep(const Arrays<S, kOut, kIn>& at, int64_t begin, int64_t end, const F& f) {
  const int64_t rest = sweep_vectors<kStream>(at, begin, end, f);
  detail::tail(at, rest, end, f, std::make_index_sequence<kOut>(), std::make_index_sequence<kIn>());
}

// Calls work<kStream>(), with kStream true if `stream` is and every output is aligned to vectors.
template <class S, std::size_t kOut, std::size_t kIn, class Work>
inline void with_stream(bool stream, const Arrays<S, kOut, kIn>& at, const Work& work) {
  const auto aligned = [](const S* out) {
    return reinterpret_cast<uintptr_t>(out) % kVectorBytes == 0;
  };
  if (!stream || !std::ranges::all_of(at.out, aligned)) return work.template operator()<false>();
  work.template operator()<true>();
  stream_fence();
}

// The sweep over `count` elements by a function without side effects; see ElementwiseKernel.
template <class S, std::size_t kOut, std::size_t kIn, class F>
inline void map(const Arrays<S, kOut, kIn>& at, int64_t count, bool stream, const F& f) {
  int64_t rest = 0;
  with_stream(stream, at, [&]<bool kStream>() { rest = sweep_vectors<kStream>(at, 0, count, f); });
  if (rest < count) detail::tail_apart(at, rest, count, f);
}

}  // namespace activations_ext::cpu
