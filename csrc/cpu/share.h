// How work is shared between threads.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>

namespace activations_ext::cpu {

// The amounts of work that are worth another thread.
namespace worth {
constexpr int64_t kElements = 8 * 1024;
constexpr int64_t kCheapElements = 32 * 1024;  // bound by memory even within the cache
constexpr int64_t kLogits = 16 * 1024;
constexpr int64_t kDeviations = 2 * 1024;
}  // namespace worth

// Ranges of elements begin at multiples of this, which is a multiple of the cache line for every
// dtype.
constexpr int64_t kElementBlock = 1024;

// work(begin, end) for all of [0, count), split at multiples of `block`. A thread gets at least
// `grain`.
template <class Work>
void share(int64_t count, int64_t block, int64_t grain, const Work& work) {
  if (count <= grain) {
    if (count > 0) work(int64_t{0}, count);
    return;
  }
  at::parallel_for(
      0, (count + block - 1) / block, (grain + block - 1) / block,
      [&](int64_t begin, int64_t end) { work(begin * block, std::min(end * block, count)); });
}

}  // namespace activations_ext::cpu
