// softmax and log_softmax on CUDA: one pass over a row for its sums and one to write, between which
// it stays in registers or in shared memory.
#pragma once

#include "../losses/softmax.h"
#include "rows.cuh"

namespace activations_ext::cuda {

// F is Softmax or LogSoftmax. To be launched with kRowThreads and, for Keep::kInShared, a row's
// packs of shared memory.
template <class F, class S, class Team, Keep kKeep>
__global__ void softmax_rows(RowShape shape, Matrix<const void*> input, Matrix<void*> output) {
  using T = Compute<S>;
  const Rows<const S> from(input, shape);
  const Rows<S> to(output, shape);
  Team::for_each_row(shape.rows, [&](int64_t row, bool there) {
    const S* const x = from.row(row);
    const Span<S, Team> span(x, 0, shape.classes);
    TwoLooks<S, Team, kKeep, 1> look(span, {{{x, from.at.class_stride}}});
    TeamSums<T> mine;
    look.first([&](int64_t, const auto& units) {
      T f[units.kCount];
#pragma unroll
      for (int k = 0; k < units.kCount; ++k) f[k] = widened(units.row[0].numbers[k]);
      mine.template add<false>(f, f);
    });
    const auto total = combined<Team, false>(mine);
    if (!there) return;
    const T m = total.sums.reference(), inverse = T(1.0) / total.sums.sum;
    const T log_sum = log(total.sums.sum);
    const Row<S, Team> written = {to.row(row), to.at.class_stride};
    look.second([&](int64_t i, auto units) {
#pragma unroll
      for (S& number : units.row[0].numbers)
        number = rounded<S>(F::value(widened(number) - m, inverse, log_sum));
      written.write(i, units.row[0]);
    });
  });
}

// The same with the packs of two rows.
template <class F, class S, class Team, Keep kKeep>
__global__ void softmax_backward_rows(RowShape shape, Matrix<const void*> grad_output,
                                      Matrix<const void*> result, Matrix<void*> output) {
  using T = Compute<S>;
  const Rows<const S> grads(grad_output, shape), results(result, shape);
  const Rows<S> to(output, shape);
  Team::for_each_row(shape.rows, [&](int64_t row, bool there) {
    const S *const g = grads.row(row), *const y = results.row(row);
    const Span<S, Team> span(g, 0, shape.classes);
    TwoLooks<S, Team, kKeep, 2> look(span,
                                     {{{g, grads.at.class_stride}, {y, results.at.class_stride}}});
    T sum(0.0);
    look.first([&](int64_t, const auto& units) {
      T some(0.0);
#pragma unroll
      for (int k = 0; k < units.kCount; ++k)
        some =
            some + F::summand(widened(units.row[0].numbers[k]), widened(units.row[1].numbers[k]));
      sum = sum + some;
    });
    sum = Team::combined(sum, [](T a, T b) { return a + b; });
    if (!there) return;
    const Row<S, Team> written = {to.row(row), to.at.class_stride};
    look.second([&](int64_t i, auto units) {
#pragma unroll
      for (int k = 0; k < units.kCount; ++k)
        units.row[0].numbers[k] = rounded<S>(
            F::gradient(widened(units.row[0].numbers[k]), widened(units.row[1].numbers[k]), sum));
      written.write(i, units.row[0]);
    });
  });
}

}  // namespace activations_ext::cuda
