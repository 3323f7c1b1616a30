// softmax and log_softmax on the CPU: one pass for the sums, which leaves a row in the cache, and
// one to write.
#pragma once

#include "../losses/softmax.h"
#include "reduce_rows.h"

namespace activations_ext::cpu {

template <class F, class S, bool kStream>
void softmax_rows(const RowShape& shape, const Operands<S>& operands, int64_t begin, int64_t end) {
  using V = ComputeVec<S>;
  for_each_group(shape, operands, begin, end, [](const auto& group) {
    const auto sums =
        sums_of<false>(group, [](V x) { return x; }, [](const auto&, int64_t) { return V(0.0); });
    const V m = sums.reference(), inverse = V(1.0) / sums.sum, log_sum = log(sums.sum);
    group.template for_each_block<true, kStream>([&](const auto& block) {
      block.template put_all<kStream>(
          [&](int64_t i) { return F::value(block.load_a(i) - m, inverse, log_sum); });
    });
  });
}

template <class F, class S, bool kStream>
void softmax_backward_rows(const RowShape& shape, const Operands<S>& operands, int64_t begin,
                           int64_t end) {
  using V = ComputeVec<S>;
  for_each_group(shape, operands, begin, end, [](const auto& group) {
    V total = V(0.0);
    group.template for_each_block<false>([&](const auto& block) {
      V sum = V(0.0);
      for (int64_t i = 0; i < block.count; ++i)
        sum = sum + F::summand(block.load_a(i), block.load_b(i));
      total = total + sum;
    });
    total = group.over_classes(total, [](V a, V b) { return a + b; });
    group.template for_each_block<true, kStream>([&](const auto& block) {
      block.template put_all<kStream>(
          [&](int64_t i) { return F::gradient(block.load_a(i), block.load_b(i), total); });
    });
  });
}

template <class F, class S>
void softmax(const RowShape& shape, Matrix<const void*> input, Matrix<void*> out, bool stream,
             int64_t begin, int64_t end) {
  const Operands<S> operands = {{input, shape}, {}, {out, shape}};
  stream ? softmax_rows<F, S, true>(shape, operands, begin, end)
         : softmax_rows<F, S, false>(shape, operands, begin, end);
}

template <class F, class S>
void softmax_backward(const RowShape& shape, Matrix<const void*> grad_output,
                      Matrix<const void*> result, Matrix<void*> out, bool stream, int64_t begin,
                      int64_t end) {
  const Operands<S> operands = {{grad_output, shape}, {result, shape}, {out, shape}};
  stream ? softmax_backward_rows<F, S, true>(shape, operands, begin, end)
         : softmax_backward_rows<F, S, false>(shape, operands, begin, end);
}

template <class F, class S>
void fill_table(SoftmaxKernels (&table)[kNumbers], Number number) {
  table[int(number)] = {&softmax<F, S>, &softmax_backward<F, S>};
}

}  // namespace activations_ext::cpu
