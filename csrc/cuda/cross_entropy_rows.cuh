// From the statistics of rows to their cross-entropy, on CUDA. Sums have a fixed order, and
// the host never waits.
#pragma once

#include "statistics_rows.cuh"

namespace activations_ext::cuda {

struct LossSums {
  double sum;
  int64_t kept;  // rows that are not ignored
};

template <class S>
struct LossesOf {
  const StatisticNumber<S>*log_sum, *target_logit;
  const int64_t* target;
  int64_t rows, ignore_index;

  __device__ bool kept(int64_t row) const { return target[row] != ignore_index; }
  __device__ Statistic<S> loss(int64_t row) const {
    if (!kept(row)) return Statistic<S>(0.0);
    return Statistic<S>(log_sum[row]) - Statistic<S>(target_logit[row]);
  }
};

template <class S>
struct CrossEntropyResults {
  S* loss;                    // one, or one for each row
  StatisticNumber<S>* share;  // one
  bool mean;

  __device__ void write(const LossSums& total) const {
    const double count = mean ? double(total.kept) : 1.0;
    *loss = rounded<S>(Compute<S>(total.sum / count));
    *share = StatisticNumber<S>(1.0 / count);
  }
};

template <class S>
__global__ void losses_of_rows(LossesOf<S> of, CrossEntropyResults<S> results) {
  const int64_t row = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row == 0) *results.share = 1;
  if (row < of.rows) results.loss[row] = rounded<S>(Compute<S>(StatisticNumber<S>(of.loss(row))));
}

inline __device__ LossSums combined_in_block(const LossSums& mine) {
  return Team<kRowThreads>::combined(
      mine, [](LossSums a, LossSums b) { return LossSums{a.sum + b.sum, a.kept + b.kept}; });
}

// To be launched with kRowThreads. One block writes the result, several their parts of it.
template <class S>
__global__ void sum_losses(LossesOf<S> of, CrossEntropyResults<S> results, LossSums* partial) {
  LossSums mine = {0.0, 0};
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
#pragma unroll 4
  for (int64_t row = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; row < of.rows; row += step) {
    mine.sum += double(of.loss(row));
    mine.kept += of.kept(row);
  }
  const LossSums total = combined_in_block(mine);
  if (threadIdx.x != 0) return;
  if (gridDim.x == 1)
    results.write(total);
  else
    partial[blockIdx.x] = total;
}

// To be launched with one block of kRowThreads, for at most as many parts.
template <class S>
__global__ void sum_parts(CrossEntropyResults<S> results, const LossSums* partial, int parts) {
  const int part = int(threadIdx.x);
  const LossSums total = combined_in_block(part < parts ? partial[part] : LossSums{0.0, 0});
  if (part == 0) results.write(total);
}

}  // namespace activations_ext::cuda
