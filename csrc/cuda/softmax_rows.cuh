// softmax and log_softmax on CUDA: one pass over a row for its sums and one to write, between which
// it stays in registers or in shared memory.
#pragma once

#include "../losses/softmax.h"
#include "rows.cuh"
#include "tiles.cuh"

namespace activations_ext::cuda {

// What a team does with its part of a row. F is Softmax or LogSoftmax.
template <class F, class S, class Team, Keep kKeep>
__device__ void softmax_row(const Row<const S, Team>& from, const Row<S, Team>& to,
                            const Part& part, bool there) {
  using T = Compute<S>;
  const Span<S, Team> span(from.data, part.begin, part.end);
  TwoLooks<S, Team, kKeep, 1> look(span, {{from}});
  TeamSums<T> mine;
  look.first([&](int64_t, const auto& units) {
    T f[units.kCount];
#pragma unroll
    for (int k = 0; k < units.kCount; ++k) f[k] = widened(units.row[0].numbers[k]);
    mine.template add<false>(f, f);
  });
  const auto total = over_row<Team>(
      mine, [](auto a, auto b) { return TeamSums<T>::template of_both<false>(a, b); });
  if (!there) return;
  const T m = total.sums.reference(), inverse = T(1.0) / total.sums.sum;
  const T log_sum = log(total.sums.sum);
  look.second([&](int64_t i, auto units) {
#pragma unroll
    for (S& number : units.row[0].numbers)
      number = rounded<S>(F::value(widened(number) - m, inverse, log_sum));
    to.write(i, units.row[0]);
  });
}

// The same with the packs of two rows.
template <class F, class S, class Team, Keep kKeep>
__device__ void softmax_backward_row(const Row<const S, Team>& grad_output,
                                     const Row<const S, Team>& result, const Row<S, Team>& to,
                                     const Part& part, bool there) {
  using T = Compute<S>;
  const Span<S, Team> span(grad_output.data, part.begin, part.end);
  TwoLooks<S, Team, kKeep, 2> look(span, {{grad_output, result}});
  T sum(0.0);
  look.first([&](int64_t, const auto& units) {
    T some(0.0);
#pragma unroll
    for (int k = 0; k < units.kCount; ++k)
      some = some + F::summand(widened(units.row[0].numbers[k]), widened(units.row[1].numbers[k]));
    sum = sum + some;
  });
  sum = over_row<Team>(sum, [](T a, T b) { return a + b; });
  if (!there) return;
  look.second([&](int64_t i, auto units) {
#pragma unroll
    for (int k = 0; k < units.kCount; ++k)
      units.row[0].numbers[k] = rounded<S>(
          F::gradient(widened(units.row[0].numbers[k]), widened(units.row[1].numbers[k]), sum));
    to.write(i, units.row[0]);
  });
}

// To be launched with kRowThreads and, for Keep::kInShared, shared memory for the packs of a row,
// or of the part of it that one of several blocks has.
template <class F, class S, class Team, Keep kKeep>
__global__ void softmax_rows(RowShape shape, Matrix<const void*> input, Matrix<void*> output) {
  const Rows<const S> from(input, shape);
  const Rows<S> to(output, shape);
  const Part part(shape.classes, int(gridDim.y), int(blockIdx.y));
  Team::for_each_row(shape.rows, [&](int64_t row, bool there) {
    softmax_row<F, S, Team, kKeep>({from.row(row), from.at.class_stride},
                                   {to.row(row), to.at.class_stride}, part, there);
  });
}

template <class F, class S, class Team, Keep kKeep>
__global__ void softmax_backward_rows(RowShape shape, Matrix<const void*> grad_output,
                                      Matrix<const void*> result, Matrix<void*> output) {
  const Rows<const S> grads(grad_output, shape), results(result, shape);
  const Rows<S> to(output, shape);
  const Part part(shape.classes, int(gridDim.y), int(blockIdx.y));
  Team::for_each_row(shape.rows, [&](int64_t row, bool there) {
    softmax_backward_row<F, S, Team, kKeep>({grads.row(row), grads.at.class_stride},
                                            {results.row(row), results.at.class_stride},
                                            {to.row(row), to.at.class_stride}, part, there);
  });
}

// Few classes of dense rows. To be launched with kRowThreads and the shared memory of
// Tile::bytes().
template <class F, class S, class Team>
__global__ void softmax_tiles(RowShape shape, const S* input, S* output) {
  const Tile<S, Team> tile(shape, 0);
  const Part all(shape.classes, 1, 0);
  Team::for_each_row(shape.rows, [&](int64_t, bool there) {
    tile.load(input);
    const Row<S, Team> row = {tile.row(), 1};
    softmax_row<F, S, Team, Keep::kInRegisters>({row.data, 1}, row, all, there);
    tile.store(output);
  });
}

template <class F, class S, class Team>
__global__ void softmax_backward_tiles(RowShape shape, const S* grad_output, const S* result,
                                       S* output) {
  const Tile<S, Team> grads(shape, 0), results(shape, 1);
  const Part all(shape.classes, 1, 0);
  Team::for_each_row(shape.rows, [&](int64_t, bool there) {
    grads.load(grad_output);
    results.load(result);
    const Row<S, Team> row = {grads.row(), 1};
    softmax_backward_row<F, S, Team, Keep::kInRegisters>({row.data, 1}, {results.row(), 1}, row,
                                                         all, there);
    grads.store(output);
  });
}

}  // namespace activations_ext::cuda
