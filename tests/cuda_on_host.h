// CUDA kernels on the host: the threads of a block are fibers, which run one after another in an
// order drawn anew all the time, so that what no barrier orders comes out differently.
//
// Include this before the kernels. What a kernel sees (threadIdx, __syncthreads, …) has CUDA's
// names.
#pragma once

#include <ucontext.h>
#include <vector_types.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// One block runs at a time, or the blocks of one cluster; these use static_shared() instead.
#undef __shared__
#define __shared__ static

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

namespace cuda_on_host {

// Which of the faults that test_cuda_sources.py has planted is to show; 0 for none.
inline const int planted = std::getenv("PLANTED") ? std::atoi(std::getenv("PLANTED")) : 0;

constexpr int kWarp = 32;

inline std::mt19937& random_order() {
  static std::mt19937 generator(0);
  return generator;
}

constexpr std::size_t kSharedBytes = 64 << 10;  // of the device
constexpr int kMostBlocksOfCluster = 4;
constexpr std::size_t kStaticBytes = 48 << 10;

// Shared memory of the blocks that run: `dynamic` has so many bytes and not one more.
struct Shared {
  std::unique_ptr<char[]> dynamic;
  std::vector<char> fixed;
};
inline std::vector<Shared> shared_memory;

// Blocks that run at the same time: one, or those of a cluster, whose ranks are blockIdx.y.
class Block {
 public:
  Block(int threads, int blocks, std::function<void()> kernel)
      : threads_(threads), kernel_(std::move(kernel)) {
    for (int i = 0; i < threads * blocks; ++i) fibers_.push_back({.stack = stack(i)});
    slots_.resize(fibers_.size());
  }
  // Of the thread that runs.
  static int rank() { return current_->running_ / current_->threads_; }

  // Returns when every thread has.
  void run() {
    current_ = this;
    std::vector<int> order(fibers_.size());
    std::iota(order.begin(), order.end(), 0);
    for (Fiber& fiber : fibers_) start(fiber);
    while (
        std::any_of(fibers_.begin(), fibers_.end(), [](const Fiber& f) { return f.at != kEnd; })) {
      std::shuffle(order.begin(), order.end(), random_order());
      // Most of the time one warp or one block runs ahead as far as it can.
      const int all = int(fibers_.size()), sizes[] = {all, kWarp, threads_};
      const int size = sizes[random_order()() % 3];
      const int first = int(random_order()() % ((all + size - 1) / size)) * size;
      const int last = std::min(first + size, all);
      bool moved = step(order, first, last);
      while (size < all && step(order, first, last)) moved = true;
      if (moved || step(order, 0, all)) continue;
      std::puts("threads wait at different barriers");
      std::exit(1);
    }
  }

  enum Place { kCode, kWarpBarrier, kBlockBarrier, kClusterBarrier, kEnd };

  static void wait(Place barrier) {
    current_->fibers_[current_->running_].at = barrier;
    current_->yield();
  }

  // f(values of the warp's lanes, whether each takes part), in every thread of a warp.
  template <class T, class F>
  static auto exchange(unsigned mask, T value, F f) {
    static_assert(sizeof(T) <= sizeof(Slot::bytes));
    const int first = current_->running_ / kWarp * kWarp;
    Slot& mine = current_->slots_[current_->running_];
    std::memcpy(mine.bytes, &value, sizeof(T));
    mine.present = true;
    wait(kWarpBarrier);
    T values[kWarp] = {};
    bool present[kWarp] = {};
    for (int lane = 0; lane < kWarp && first + lane < int(current_->fibers_.size()); ++lane) {
      const Slot& slot = current_->slots_[first + lane];
      present[lane] = slot.present && (mask >> lane & 1);
      std::memcpy(&values[lane], slot.bytes, sizeof(T));
    }
    wait(kWarpBarrier);  // until all have read
    current_->slots_[current_->running_].present = false;
    return f(values, present);
  }

 private:
  static constexpr std::size_t kStack = 128 << 10;
  struct Fiber {
    char* stack;
    ucontext_t context = {};
    void* sanitizer = nullptr;
    Place at = kCode;
  };
  struct Slot {
    char bytes[16];
    bool present = false;
  };

  // Kept from block to block.
  static char* stack(std::size_t i) {
    static std::vector<std::unique_ptr<char[]>> stacks;
    while (stacks.size() <= i) stacks.emplace_back(new char[kStack]);
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(stacks[i].get(), kStack);
#endif
    return stacks[i].get();
  }

  // Each thread from `first` to `last` up to its next barrier; false if none could move.
  bool step(const std::vector<int>& order, int first, int last) {
    bool moved = false;
    for (const int thread : order) {
      if (fibers_[thread].at != kCode || thread < first || thread >= last) continue;
      resume(thread);
      moved = true;
    }
    for (std::size_t warp = 0; warp < fibers_.size(); warp += kWarp)
      moved |= release(warp, std::min(warp + kWarp, fibers_.size()), kWarpBarrier);
    for (std::size_t block = 0; block < fibers_.size(); block += threads_)
      moved |= release(block, block + threads_, kBlockBarrier);
    return release(0, fibers_.size(), kClusterBarrier) || moved;
  }

  // Those of a group, once all of them that have not ended stand at its barrier.
  bool release(std::size_t first, std::size_t last, Place barrier) {
    bool some = false;
    for (std::size_t i = first; i < last; ++i) {
      if (fibers_[i].at != kEnd && fibers_[i].at != barrier) return false;
      some |= fibers_[i].at == barrier;
    }
    for (std::size_t i = first; i < last; ++i) {
      if (fibers_[i].at == barrier) fibers_[i].at = kCode;
    }
    return some;
  }

  void start(Fiber& fiber) {
    getcontext(&fiber.context);
    fiber.context.uc_stack = {fiber.stack, 0, kStack};
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, &Block::body, 0);
  }

  void resume(int thread) {
    running_ = thread;
    threadIdx = {unsigned(thread % threads_), 0, 0};
    if (int(fibers_.size()) > threads_) blockIdx.y = unsigned(thread / threads_);
    Fiber& fiber = fibers_[thread];
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&sanitizer_, fiber.stack, kStack);
#endif
    swapcontext(&scheduler_, &fiber.context);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(sanitizer_, nullptr, nullptr);
#endif
  }

  void yield() {
    Fiber& fiber = fibers_[running_];
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(fiber.at == kEnd ? nullptr : &fiber.sanitizer, stack_,
                                   stack_size_);
#endif
    swapcontext(&fiber.context, &scheduler_);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fiber.sanitizer, &stack_, &stack_size_);
#endif
  }

  static void body() {
    Block& block = *current_;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &block.stack_, &block.stack_size_);
#endif
    block.kernel_();
    wait(kEnd);
  }

  inline static Block* current_ = nullptr;
  std::vector<Fiber> fibers_;
  std::vector<Slot> slots_;
  int threads_;
  std::function<void()> kernel_;
  ucontext_t scheduler_;
  int running_ = 0;
  void* sanitizer_ = nullptr;
  const void* stack_ = nullptr;
  std::size_t stack_size_ = 0;
};

inline void* dynamic_shared() { return shared_memory[Block::rank()].dynamic.get(); }

inline std::size_t static_used = 0;
// A place for each size, as each instance of the device's function has one.
template <int kBytes>
char* static_shared() {
  static const std::size_t place =
      std::exchange(static_used, static_used + (kBytes + 15) / 16 * 16);
  if (place + kBytes > kStaticBytes) std::abort();
  return shared_memory[Block::rank()].fixed.data() + place;
}
template <class T>
const T* shared_of(const T* mine, int rank) {
  const auto* const bytes = reinterpret_cast<const char*>(mine);
  const std::size_t place = bytes - shared_memory[Block::rank()].fixed.data();
  return reinterpret_cast<const T*>(shared_memory[rank].fixed.data() + place);
}

// kernel<<<blocks, threads, shared>>>(arguments…); blocks of the same x are a cluster, if
// `cluster`.
template <class... Parameters, class... Arguments>
void launch_with_shared(void (*kernel)(Parameters...), dim3 blocks, unsigned threads,
                        unsigned shared, bool cluster, Arguments... arguments) {
  const unsigned at_once = cluster ? blocks.y : 1;
  if (at_once > kMostBlocksOfCluster || (at_once > 1 && threads % kWarp != 0)) {
    std::puts("a cluster that the device does not take");
    std::exit(1);
  }
  if (shared > kSharedBytes) {
    std::puts("more shared memory than the device has");
    std::exit(1);
  }
  for (unsigned rank = 0; rank < at_once; ++rank) {
    shared_memory.push_back({.fixed = std::vector<char>(kStaticBytes)});
    if (shared > 0) shared_memory.back().dynamic.reset(new char[shared]);
  }
  if (blocks.x == 0 || blocks.y == 0 || blocks.y > 65535 || threads == 0 || threads > 1024) {
    std::puts("a launch that CUDA refuses");
    std::exit(1);
  }
  gridDim = blocks, blockDim = dim3(threads);
  std::vector<unsigned> order(blocks.x * (blocks.y / at_once));
  std::iota(order.begin(), order.end(), 0u);
  std::shuffle(order.begin(), order.end(), random_order());
  for (const unsigned block : order) {
    blockIdx = {block % blocks.x, block / blocks.x, 0};
    for (Shared& of_block : shared_memory) {
      if (shared > 0) std::memset(of_block.dynamic.get(), 0xff, shared);
      std::fill(of_block.fixed.begin(), of_block.fixed.end(), char(0xff));
    }
    Block(int(threads), int(at_once), [&] { kernel(arguments...); }).run();
  }
  shared_memory.clear();
}

// kernel<<<blocks, threads>>>(arguments…)
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 blocks, unsigned threads, Arguments... arguments) {
  launch_with_shared(kernel, blocks, threads, 0, false, arguments...);
}

// What lane `from(lane)` has; the own value where that lane is none of the warp's.
template <class T, class From>
T shuffled(unsigned mask, T value, From from) {
  const int lane = threadIdx.x % kWarp, source = from(lane);
  return Block::exchange(mask, value, [&](const T* values, const bool* present) {
    return source >= 0 && source < kWarp && present[source] ? values[source] : value;
  });
}

}  // namespace cuda_on_host

inline void __syncthreads() { cuda_on_host::Block::wait(cuda_on_host::Block::kBlockBarrier); }
inline void __syncwarp(unsigned = ~0u) {
  cuda_on_host::Block::wait(cuda_on_host::Block::kWarpBarrier);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source) {
  return cuda_on_host::shuffled(mask, value, [=](int) { return source; });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int other) {
  return cuda_on_host::shuffled(mask, value, [=](int lane) { return lane ^ other; });
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance) {
  return cuda_on_host::shuffled(mask, value, [=](int lane) { return lane + int(distance); });
}

inline unsigned __ballot_sync(unsigned mask, bool vote) {
  return cuda_on_host::Block::exchange(mask, vote, [](const bool* votes, const bool* present) {
    unsigned bits = 0;
    for (int lane = 0; lane < cuda_on_host::kWarp; ++lane)
      bits |= unsigned(present[lane] && votes[lane]) << lane;
    return bits;
  });
}
inline bool __any_sync(unsigned mask, bool vote) { return __ballot_sync(mask, vote) != 0; }
inline bool __all_sync(unsigned mask, bool vote) { return __ballot_sync(mask, !vote) == 0; }

template <class T>
void __stcs(T* to, T value) {
  *to = value;
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned bits) {
  return unsigned((std::uint64_t(high) << 32 | low) >> (bits & 31));
}

// One thread runs at a time.
template <class T>
T atomicAdd(T* to, T value) {
  const T before = *to;
  *to += value;
  return before;
}
template <class T>
T atomicMax(T* to, T value) {
  const T before = *to;
  *to = std::max(before, value);
  return before;
}
