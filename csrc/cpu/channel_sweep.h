// The sweep with a weight for each channel on the CPU. The same pass sums the weights' gradient.
#pragma once

#include "../activations/prelu.h"
#include "kernels.h"
#include "sweep.h"

namespace activations_ext::cpu {

// Sums are kept in double: a channel may have millions of elements. Sixteen numbers are summed in
// their own precision first, as conversions would take longer than all the rest.
constexpr int64_t kSummedAtOnce = 16;

template <class V>
struct Sums {
  typedef double Doubles __attribute__((vector_size(kVectorBytes)));
  typedef double TwiceAsMany __attribute__((vector_size(2 * kVectorBytes)));
  using Native = std::conditional_t<kIsFloat<V>, TwiceAsMany, Doubles>;
  Native native = {};

  void add(V x) { native += __builtin_convertvector(x.native, Native); }
  double total() const {
    double sum = 0;
    for (int lane = 0; lane < V::kLanes; ++lane) sum += native[lane];
    return sum;
  }
};

// Adds a vector to the sums of its lanes.
template <class V>
inline void add_to(double* sums, V x) {
  Sums<V> each;
  std::memcpy(&each.native, sums, sizeof(each.native));
  each.add(x);
  std::memcpy(sums, &each.native, sizeof(each.native));
}

template <class Op, class S>
[[gnu::flatten]] void channel_forward(void* out, const void* input, const void* weight, bool each,
                                      int64_t count, bool stream) {
  using V = ComputeVec<S>;
  const auto* const weights = static_cast<const typename V::Number*>(weight);
  const Arrays<S, 1, 1> at({static_cast<S*>(out)}, {static_cast<const S*>(input)});
  if (each)
    return map(at, count, stream, [=](int64_t i, V x) { return Op::value(x, load(weights + i)); });
  const auto one = V(double{*weights});
  map(at, count, stream, [=](V x) { return Op::value(x, one); });
}

template <class Op, class S>
[[gnu::flatten]] void channel_backward(void* grad_input, const void* grad_output, const void* input,
                                       const void* weight, bool each, double* grad_weight,
                                       int64_t count, bool stream) {
  using V = ComputeVec<S>;
  const auto* const weights = static_cast<const typename V::Number*>(weight);
  const Arrays<S, 1, 2> at({static_cast<S*>(grad_input)},
                           {static_cast<const S*>(grad_output), static_cast<const S*>(input)});
  with_stream(stream, at, [&]<bool kStream>() {
    if (each)
      return sweep<kStream>(at, 0, count, [=](int64_t i, V grad, V x) {
        add_to(grad_weight + i, Op::grad_weight(grad, x));
        return Op::grad_input(grad, x, load(weights + i));
      });
    const auto one = V(double{*weights});
    Sums<V> all;
    V some(0.0);
    const auto function = [&](V grad, V x) {
      some = some + Op::grad_weight(grad, x);
      return Op::grad_input(grad, x, one);
    };
    constexpr int64_t kTogether = kSummedAtOnce * V::kLanes;
    int64_t begin = 0;
    for (; begin + kTogether <= count; begin += kTogether) {
      sweep_vectors<kStream>(at, begin, begin + kTogether, function);
      all.add(some);
      some = V(0.0);
    }
    sweep<kStream>(at, begin, count, function);
    all.add(some);
    *grad_weight += all.total();
  });
}

template <class S>
void fill_table(ChannelKernels (&table)[kNumbers], Number number) {
  table[int(number)] = {&channel_forward<PReLU, S>, &channel_backward<PReLU, S>};
}

}  // namespace activations_ext::cpu
