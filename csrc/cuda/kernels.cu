#include <algorithm>

#include "kernels.h"
#include "pointwise_sweep.cuh"

namespace activations_ext::cuda {
namespace {

template <class A, class S, Pass kPass>
void queue(const void* activation, void* out, const void* a, const void* b, int64_t count,
           cudaStream_t stream) {
  constexpr int64_t kEachBlock = int64_t(kThreads) * Pack<S>::kCount, kMostBlocks = 1 << 20;
  const int64_t blocks = std::min((count + kEachBlock - 1) / kEachBlock, kMostBlocks);
  if (blocks == 0) return;  // which CUDA would refuse
  pointwise<kPass, A, S><<<unsigned(blocks), kThreads, 0, stream>>>(
      *static_cast<const A*>(activation), static_cast<S*>(out), static_cast<const S*>(a),
      static_cast<const S*>(b), count);
}

template <class S>
void fill(KernelTable& table, Number number) {
  Activations::for_each([&]<Activation A>() {
    auto& passes = table.pointwise[Activations::index_of<A>()][int(number)];
    const auto add = [&]<Pass kPass>() { passes[int(kPass)] = &queue<A, S, kPass>; };
    for_each_pass<A>(add);
  });
}

}  // namespace

const KernelTable& kernels() {
  static const KernelTable table = [] {
    KernelTable all = {};
    fill<float>(all, Number::kFloat);
    fill<double>(all, Number::kDouble);
    fill<BFloat16>(all, Number::kBFloat16);
    fill<Half>(all, Number::kHalf);
    return all;
  }();
  return table;
}

}  // namespace activations_ext::cuda
