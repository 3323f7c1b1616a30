// softmax and log_softmax on the CPU: one pass for the sums, which leaves a row in the cache, and
// one to write.
#pragma once

#include <functional>
#include <memory>

#include "../losses/softmax.h"
#include "reduce_rows.h"

namespace activations_ext::cpu {

// kStored: the output of the same place is stored to next.
template <bool kStored, class Group, class V = typename Group::V>
RowSums<V> softmax_sums(const Group& group) {
  return sums_of<false, kStored>(
      group, [](V x) { return x; }, [](const auto&, int64_t) { return V(0.0); });
}

template <class F, bool kStream, class Group, class V = typename Group::V>
void put_softmax(const Group& group, V m, V inverse_sum, V log_sum) {
  group.template for_each_block<true, kStream>([&](const auto& block) {
    block.template put_all<kStream>(
        [&](int64_t i) { return F::value(block.load_a(i) - m, inverse_sum, log_sum); });
  });
}

// Longer rows take less time alone than transposed.
constexpr int64_t kFewInSoftmax = 63;

template <class F, class S, bool kStream>
void softmax_rows(const RowShape& shape, const Operands<S>& operands, int64_t begin, int64_t end) {
  using V = ComputeVec<S>;
  const auto work = [](const auto& group) {
    const RowSums<V> sums = softmax_sums<!kStream>(group);
    put_softmax<F, kStream>(group, sums.reference(), V(1.0) / sums.sum, log(sums.sum));
  };
  for_each_group(shape, operands, begin, end, work, kFewInSoftmax);
}

// The largest rows whose exponentials are kept: they should stay in the second-level cache.
constexpr int64_t kKeptBytes = int64_t{1} << 20;

template <class V>
V finite_or_0(V x) {
  return where(x == -infinity<V>(), V(0.0), x);
}

// The exponentials of a group's logits, kept in a copy of the group until their sum is known. They
// are c·e^(x−reference) with the factor c of scaled_exp. The reference is raised when a logit
// exceeds it by more than kHigher; in most rows the first block's maximum stays.
template <class V>
struct Exponentials {
  static constexpr double kHigher = 10.0;

  V reference = -infinity<V>(), sum = V(0.0);
  std::unique_ptr<V[]> of_block;  // references

  explicit Exponentials(int64_t classes)
      : of_block(std::make_unique_for_overwrite<V[]>(classes / kFewClasses + 2)) {}

  // kStored: the output of the same place is stored to next.
  template <bool kStored, class Group, class T>
  void keep(const Group& group, T* copy) {
    reference = -infinity<V>(), sum = V(0.0);
    if (group.classes <= Group::kInCache) {  // the maximum first
      reference = largest_of_row(group, std::identity());
      group.template for_each_block<false>(
          [&](const auto& block) { keep_block<kStored>(block, copy); });
    } else {
      keep_blocks<kStored>(group, copy);
    }
    sum = group.over_classes(sum, [](V a, V b) { return a + b; });
  }

 private:
  template <bool kStored, class Block, class T>
  void keep_block(const Block& block, T* copy) {
    const V subtract = finite_or_0(reference);
    V some = V(0.0);  // by itself: adding many small numbers to a large one loses digits
    for (int64_t i = 0; i < block.count; ++i) {
      block.prefetch_next(i);
      if constexpr (kStored) block.prefetch_output(i);
      const V e = block.inside(scaled_exp(block.load_a(i) - subtract), 0.0);
      block.keep(copy, i, e);
      some = some + e;
    }
    sum = sum + some;
  }
  template <bool kStored, class Group, class T>
  void keep_blocks(const Group& group, T* copy) {
    int64_t raised = 0, blocks = 0;
    group.template for_each_block<false>([&](const auto& block) {
      const V top = largest_of_lanes(group, largest(block, std::identity()));
      const auto higher = top > reference + V(kHigher);
      if (any(higher)) {
        const V before = reference;
        reference = where(higher, top, reference);
        if (blocks > 0) sum = sum * exp(before - finite_or_0(reference));
        raised = blocks;
      }
      of_block[blocks++] = reference;
      keep_block<kStored>(block, copy);
    });
    if (raised == 0) return;
    int64_t number = 0;
    group.template for_each_block<false>([&](const auto& block) {
      if (number == raised) return;
      const V lost = exp(of_block[number++] - finite_or_0(reference));
      for (int64_t i = 0; i < block.count; ++i) block.keep(copy, i, block.kept(copy, i) * lost);
    });
  }
};

// Numbers in a copy of a group of rows.
template <class S>
int64_t numbers_in_copy(const RowShape& shape, const Operands<S>& operands) {
  const bool one = is_one_row(shape, operands, kFewInSoftmax);
  return one ? shape.classes : shape.classes * kLanes<S>;
}

// softmax with one exponential an element.
template <class S, bool kStream>
void softmax_of_kept_rows(const RowShape& shape, const Operands<S>& operands, int64_t begin,
                          int64_t end) {
  using V = ComputeVec<S>;
  using T = typename V::Number;
  const int64_t vectors = numbers_in_copy(shape, operands) / V::kLanes + 1;
  const auto memory = std::make_unique_for_overwrite<V[]>(vectors);  // aligned
  T* const copy = reinterpret_cast<T*>(memory.get());
  Exponentials<V> exponentials(shape.classes);
  const auto work = [&](const auto& group) {
    exponentials.template keep<!kStream>(group, copy);
    const V inverse = V(1.0) / exponentials.sum;
    group.template for_each_block<true, kStream>([&](const auto& block) {
      block.template put_all<kStream>([&](int64_t i) { return block.kept(copy, i) * inverse; });
    });
  };
  for_each_group(shape, operands, begin, end, work, kFewInSoftmax);
}

// Σ of what a row's gradient subtracts from each element.
template <class F, class Group, class V = typename Group::V>
V gradient_sum(const Group& group) {
  V total = V(0.0);
  group.template for_each_block<false>([&](const auto& block) {
    V sum = V(0.0);
    for (int64_t i = 0; i < block.count; ++i)
      sum = sum + F::summand(block.load_a(i), block.load_b(i));
    total = total + sum;
  });
  return group.over_classes(total, [](V a, V b) { return a + b; });
}

template <class F, bool kStream, class Group, class V = typename Group::V>
void put_gradient(const Group& group, V sum) {
  group.template for_each_block<true, kStream>([&](const auto& block) {
    block.template put_all<kStream>(
        [&](int64_t i) { return F::gradient(block.load_a(i), block.load_b(i), sum); });
  });
}

template <class F, class S, bool kStream>
void softmax_backward_rows(const RowShape& shape, const Operands<S>& operands, int64_t begin,
                           int64_t end) {
  constexpr int64_t kFew = 2 * kLanes<S> - 1;  // a row takes less time than its transposition
  const auto work = [](const auto& group) {
    put_gradient<F, kStream>(group, gradient_sum<F>(group));
  };
  for_each_group(shape, operands, begin, end, work, kFew);
}

template <class F, class S>
void softmax(const RowShape& shape, Matrix<const void*> input, Matrix<void*> out, bool stream,
             int64_t begin, int64_t end) {
  const Operands<S> operands = {{input, shape}, {}, {out, shape}};
  if constexpr (std::is_same_v<F, Softmax>) {
    using T = typename ComputeVec<S>::Number;
    // Few classes are in the first-level cache for both passes, where a copy costs as much.
    const int64_t bytes = numbers_in_copy(shape, operands) * int64_t(sizeof(T));
    if (shape.classes > kFewInSoftmax && bytes <= kKeptBytes) {
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

// --- a row in segments --------------------------------------------------------------------------

template <class S>
Operands<S> one_row(const void* a, const void* b, void* out, int64_t count) {
  const RowShape shape = {1, 1, count};
  const RowLayout at = {0, 0, 1};
  return {{Matrix<const void*>{a, at}, shape},
          {Matrix<const void*>{b, at}, shape},
          {Matrix<void*>{out, at}, shape}};
}

template <class F, class S>
struct Segments {
  using V = ComputeVec<S>;

  // softmax keeps its exponentials where its result will be, unless that has fewer digits.
  static constexpr bool kKeeps =
      std::is_same_v<F, Softmax> && std::is_same_v<S, typename V::Number>;

  static SegmentSums forward_sums(const void* input, void* out, int64_t count) {
    const Operands<S> operands = one_row<S>(input, nullptr, out, count);
    const OneRow<S> group = {operands, count, 0};
    if constexpr (kKeeps) {
      Exponentials<V> exponentials(count);
      exponentials.template keep<true>(group, static_cast<S*>(out));
      return {double(exponentials.reference.native[0]), double(exponentials.sum.native[0])};
    }
    const RowSums<V> sums = softmax_sums<false>(group);
    return {double(sums.maximum.native[0]), double(sums.sum.native[0])};
  }
  static void forward(const void* input, void* out, int64_t count, SegmentSums of_segment,
                      SegmentSums of_row) {
    const Operands<S> operands = one_row<S>(input, nullptr, out, count);
    const OneRow<S> group = {operands, count, 0};
    const V inverse = V(1 / of_row.sum);
    if constexpr (kKeeps) {
      const V lost = V(std::exp(of_segment.maximum - of_row.maximum));
      group.template for_each_block<true>([&](const auto& block) {
        block.template put_all<false>(
            [&](int64_t i) { return block.kept(static_cast<S*>(out), i) * lost * inverse; });
      });
    } else {
      put_softmax<F, false>(group, V(of_row.maximum), inverse, V(std::log(of_row.sum)));
    }
  }
  static SegmentSums backward_sums(const void* grad_output, const void* result, int64_t count) {
    const Operands<S> operands = one_row<S>(grad_output, result, nullptr, count);
    return {0, double(gradient_sum<F>(OneRow<S>{operands, count, 0}).native[0])};
  }
  static void backward(const void* grad_output, const void* result, void* out, int64_t count,
                       SegmentSums of_row) {
    const Operands<S> operands = one_row<S>(grad_output, result, out, count);
    put_gradient<F, false>(OneRow<S>{operands, count, 0}, V(of_row.sum));
  }
};

template <class F, class S>
void fill_table(SoftmaxKernels (&table)[kNumbers], Number number) {
  using Of = Segments<F, S>;
  table[int(number)] = {
      &softmax<F, S>,
      &softmax_backward<F, S>,
      {&Of::forward_sums, &Of::forward, &Of::backward_sums, &Of::backward},
  };
}

}  // namespace activations_ext::cpu
