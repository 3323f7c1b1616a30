// PReLU on the CPU: the pointwise sweep with a weight, whose gradient is summed in the same pass.
#pragma once

#include <algorithm>

#include "../activations/prelu.h"
#include "kernels.h"
#include "storage.h"

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

// The weight of all elements or, with kEach, of each.
template <bool kEach, class S>
inline ComputeVec<S> weight_at(const void* weight, int64_t i) {
  const auto* numbers = static_cast<const typename ComputeVec<S>::Number*>(weight);
  if constexpr (kEach) return load(numbers + i);
  return ComputeVec<S>(double(*numbers));
}

template <bool kStream, bool kEach, class S>
inline void prelu_forward(S* out, const S* input, const void* weight, int64_t count) {
  constexpr int64_t kLanes = ComputeVec<S>::kLanes;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    store<kStream>(out + i, PReLU::value(load(input + i), weight_at<kEach, S>(weight, i)));
  if (i < count) {
    S x[kLanes] = {};
    std::copy(input + i, input + count, x);
    store<false>(x, PReLU::value(load(x), weight_at<kEach, S>(weight, i)));
    std::copy(x, x + (count - i), out + i);
  }
  if constexpr (kStream) stream_fence();
}

template <bool kStream, bool kEach, class S>
inline void prelu_backward(S* grad_input, const S* grad_output, const S* input, const void* weight,
                           double* grad_weight, int64_t count) {
  using V = ComputeVec<S>;
  constexpr int64_t kLanes = V::kLanes;
  Sums<V> all;
  V some(0.0);
  const auto step = [&]<bool kStore>(S* to, const S* grads, const S* inputs, int64_t i) {
    const V grad = load(grads), x = load(inputs);
    store<kStore>(to, PReLU::grad_input(grad, x, weight_at<kEach, S>(weight, i)));
    const V share = PReLU::grad_weight(grad, x);
    if constexpr (kEach) {
      Sums<V> each;
      std::memcpy(&each.native, grad_weight + i, sizeof(each.native));
      each.add(share);
      std::memcpy(grad_weight + i, &each.native, sizeof(each.native));
    } else {
      some = some + share;
    }
  };
  int64_t i = 0;
  for (int64_t next = 0; next < count;) {
    next = std::min(count, next + kSummedAtOnce * kLanes);
    for (; i + kLanes <= next; i += kLanes)
      step.template operator()<kStream>(grad_input + i, grad_output + i, input + i, i);
    all.add(some);
    some = V(0.0);
  }
  if (i < count) {
    S grads[kLanes] = {}, inputs[kLanes] = {};
    std::copy(grad_output + i, grad_output + count, grads);
    std::copy(input + i, input + count, inputs);
    step.template operator()<false>(grads, grads, inputs, i);  // 0·0 is added for the rest
    std::copy(grads, grads + (count - i), grad_input + i);
  }
  all.add(some);
  if constexpr (!kEach) *grad_weight += all.total();
  if constexpr (kStream) stream_fence();
}

template <class S>
void prelu_forward_kernel(void* out, const void* input, const void* weight, bool each,
                          int64_t count, bool stream) {
  const auto run = [&]<bool kStream, bool kEach>() {
    prelu_forward<kStream, kEach>(static_cast<S*>(out), static_cast<const S*>(input), weight,
                                  count);
  };
  const bool streamed = stream && reinterpret_cast<uintptr_t>(out) % kVectorBytes == 0;
  if (each) {
    streamed ? run.template operator()<true, true>() : run.template operator()<false, true>();
  } else {
    streamed ? run.template operator()<true, false>() : run.template operator()<false, false>();
  }
}

template <class S>
void prelu_backward_kernel(void* grad_input, const void* grad_output, const void* input,
                           const void* weight, bool each, double* grad_weight, int64_t count,
                           bool stream) {
  const auto run = [&]<bool kStream, bool kEach>() {
    prelu_backward<kStream, kEach>(static_cast<S*>(grad_input), static_cast<const S*>(grad_output),
                                   static_cast<const S*>(input), weight, grad_weight, count);
  };
  const bool streamed = stream && reinterpret_cast<uintptr_t>(grad_input) % kVectorBytes == 0;
  if (each) {
    streamed ? run.template operator()<true, true>() : run.template operator()<false, true>();
  } else {
    streamed ? run.template operator()<true, false>() : run.template operator()<false, false>();
  }
}

template <class S>
void fill_table(PReLUKernels (&table)[kNumbers], Number number) {
  table[int(number)] = {&prelu_forward_kernel<S>, &prelu_backward_kernel<S>};
}

}  // namespace activations_ext::cpu
