// softmax and log_softmax on CUDA: one look for the sums, which leaves a row in the cache, and one
// to write.
#pragma once

#include "../losses/softmax.h"
#include "rows.cuh"

namespace activations_ext::cuda {

// F is Softmax or LogSoftmax. To be launched with kRowThreads.
template <class F, class S, int kThreads>
__global__ void softmax_rows(RowShape shape, Matrix<const void*> input, Matrix<void*> output) {
  using T = Compute<S>;
  const Rows<const S> from(input, shape);
  const Rows<S> to(output, shape);
  const int64_t stride = from.at.class_stride;
  Team<kThreads>::for_each_row(shape.rows, [&](int64_t row, bool there) {
    const S* const x = from.row(row);
    const auto total = team_sums<kThreads, false>(
        x, stride, 0, shape.classes, [](T f) { return f; }, [](int64_t) { return T(0.0); });
    if (!there) return;
    const T m = total.sums.reference(), inverse = T(1.0) / total.sums.sum;
    const T log_sum = log(total.sums.sum);
    const RowWriter<S> writer(to.row(row), to.at.class_stride, x);
    Team<kThreads>::for_each_pack(x, stride, 0, shape.classes, [&](int64_t i, auto numbers) {
      for (int k = 0; k < numbers.kCount; ++k)
        numbers.numbers[k] =
            rounded<S>(F::value(widened(numbers.numbers[k]) - m, inverse, log_sum));
      writer.write(i, numbers);
    });
  });
}

template <class F, class S, int kThreads>
__global__ void softmax_gradient_rows(RowShape shape, Matrix<const void*> grad_output,
                                      Matrix<const void*> result, Matrix<void*> output) {
  using T = Compute<S>;
  const Rows<const S> grads(grad_output, shape), results(result, shape);
  const Rows<S> to(output, shape);
  const int64_t stride = grads.at.class_stride, result_stride = results.at.class_stride;
  Team<kThreads>::for_each_row(shape.rows, [&](int64_t row, bool there) {
    const S *const g = grads.row(row), *const y = results.row(row);
    T sum(0.0);
    Team<kThreads>::for_each_pack(g, stride, 0, shape.classes, [&](int64_t i, auto numbers) {
      T some(0.0);
      for (int k = 0; k < numbers.kCount; ++k)
        some = some + F::summand(widened(numbers.numbers[k]), widened(y[(i + k) * result_stride]));
      sum = sum + some;
    });
    sum = Team<kThreads>::combined(sum, [](T a, T b) { return a + b; });
    if (!there) return;
    const RowWriter<S> writer(to.row(row), to.at.class_stride, g);
    Team<kThreads>::for_each_pack(g, stride, 0, shape.classes, [&](int64_t i, auto numbers) {
      for (int k = 0; k < numbers.kCount; ++k)
        numbers.numbers[k] = rounded<S>(
            F::gradient(widened(numbers.numbers[k]), widened(y[(i + k) * result_stride]), sum));
      writer.write(i, numbers);
    });
  });
}

}  // namespace activations_ext::cuda
