// softmax and log_softmax on the CPU: one pass for the sums, which leaves a row in the cache, and
// one to write.
#pragma once

#include <memory>

#include "../losses/softmax.h"
#include "reduce_rows.h"

namespace activations_ext::cpu {

template <class F, class S, bool kStream>
void softmax_rows(const RowShape& shape, const Operands<S>& operands, int64_t begin, int64_t end) {
  using V = ComputeVec<S>;
  for_each_group(shape, operands, begin, end, [](const auto& group) {
    const auto sums = sums_of<false, !kStream>(
        group, [](V x) { return x; }, [](const auto&, int64_t) { return V(0.0); });
    const V m = sums.reference(), inverse = V(1.0) / sums.sum, log_sum = log(sums.sum);
    group.template for_each_block<true, kStream>([&](const auto& block) {
      block.template put_all<kStream>(
          [&](int64_t i) { return F::value(block.load_a(i) - m, inverse, log_sum); });
    });
  });
}

// The largest rows whose exponentials are kept: they should stay in the second-level cache.
constexpr int64_t kKeptBytes = int64_t{1} << 20;

// Numbers in a copy of a group of rows, with those that vectors reach past the end.
template <class S>
int64_t numbers_in_copy(const RowShape& shape, const Operands<S>& operands) {
  return (shape.classes + 1) * (is_one_row(shape, operands) ? 1 : kLanes<S>)+kLanes<S>;
}

// softmax with one exponential an element: they are kept until the sum of their row is known. An
// exponential is relative to the row's reference at the time, which is raised when a logit exceeds
// it by more than kHigher. Most rows have one reference.
template <class S, bool kStream>
void softmax_of_kept_rows(const RowShape& shape, const Operands<S>& operands, int64_t begin,
                          int64_t end) {
  using V = ComputeVec<S>;
  using T = typename V::Number;
  constexpr double kNone = -std::numeric_limits<double>::infinity(), kHigher = 10.0;
  const int64_t vectors = numbers_in_copy(shape, operands) / V::kLanes + 1;
  const auto memory = std::make_unique_for_overwrite<V[]>(vectors);  // aligned
  T* const kept = reinterpret_cast<T*>(memory.get());
  const auto references = std::make_unique_for_overwrite<V[]>(shape.classes / kFewClasses + 2);
  const auto finite = [](V x) { return where(x == -infinity<V>(), V(0.0), x); };
  for_each_group(shape, operands, begin, end, [&](const auto& group) {
    V reference = -infinity<V>(), sum = V(0.0);
    int64_t raised = 0, blocks = 0;
    group.template for_each_block<false>([&](const auto& block) {
      const auto larger_one = [](V a, V b) { return larger(a, b); };
      const V top = group.over_classes(block.inside(largest(block), kNone), larger_one);
      const auto higher = top > reference + V(kHigher);
      if (any(higher)) {
        const V before = reference;
        reference = where(higher, top, reference);
        if (blocks > 0) sum = sum * exp(before - finite(reference));
        raised = blocks;
      }
      references[blocks++] = reference;
      const V subtract = finite(reference);
      V some = V(0.0);  // by itself: adding many small numbers to a large one loses digits
      for (int64_t i = 0; i < block.count; ++i) {
        block.prefetch_next(i);
        if constexpr (!kStream) block.prefetch_output(i);
        const V e = block.inside(scaled_exp(block.load_a(i) - subtract), 0.0);
        store<false>(block.in_copy(kept, i), e);
        some = some + e;
      }
      sum = sum + some;
    });
    if (raised > 0) {
      const V last = finite(reference);
      int64_t number = 0;
      group.template for_each_block<false>([&](const auto& block) {
        if (number == raised) return;
        const V lost = exp(references[number++] - last);
        for (int64_t i = 0; i < block.count; ++i) {
          T* const e = block.in_copy(kept, i);
          store<false>(e, load(e) * lost);
        }
      });
    }
    const V inverse = V(1.0) / group.over_classes(sum, [](V a, V b) { return a + b; });
    group.template for_each_block<true, kStream>([&](const auto& block) {
      block.template put_all<kStream>(
          [&](int64_t i) { return load(block.in_copy(kept, i)) * inverse; });
    });
  });
}

template <class F, class S, bool kStream>
void softmax_backward_rows(const RowShape& shape, const Operands<S>& operands, int64_t begin,
                           int64_t end) {
  using V = ComputeVec<S>;
  constexpr int64_t kFew = 2 * kLanes<S> - 1;  // a row takes less time than its transposition
  const auto work = [](const auto& group) {
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
  };
  for_each_group(shape, operands, begin, end, work, kFew);
}

template <class F, class S>
void softmax(const RowShape& shape, Matrix<const void*> input, Matrix<void*> out, bool stream,
             int64_t begin, int64_t end) {
  const Operands<S> operands = {{input, shape}, {}, {out, shape}};
  if constexpr (std::is_same_v<F, Softmax>) {
    using T = typename ComputeVec<S>::Number;
    if (numbers_in_copy(shape, operands) * int64_t(sizeof(T)) <= kKeptBytes) {
      return stream ? softmax_of_kept_rows<S, true>(shape, operands, begin, end)
                    : softmax_of_kept_rows<S, false>(shape, operands, begin, end);
    }
  }
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
