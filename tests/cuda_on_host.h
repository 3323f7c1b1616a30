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
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// One block runs at a time.
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

class Block {
 public:
  Block(int threads, std::function<void()> kernel) : kernel_(std::move(kernel)) {
    for (int i = 0; i < threads; ++i) fibers_.push_back({.stack = stack(i)});
  }

  // Returns when every thread has.
  void run() {
    current_ = this;
    std::vector<int> order(fibers_.size());
    std::iota(order.begin(), order.end(), 0);
    for (Fiber& fiber : fibers_) start(fiber);
    while (
        std::any_of(fibers_.begin(), fibers_.end(), [](const Fiber& f) { return f.at != kEnd; })) {
      std::shuffle(order.begin(), order.end(), random_order());
      // Half of the time one warp runs ahead as far as it can.
      const int warps = int((fibers_.size() + kWarp - 1) / kWarp);
      const int ahead = random_order()() % 2 == 0 ? int(random_order()() % warps) : -1;
      bool moved = step(order, ahead);
      while (ahead >= 0 && step(order, ahead)) moved = true;
      if (moved || step(order, -1)) continue;
      std::puts("threads wait at different barriers");
      std::exit(1);
    }
  }

  enum Place { kCode, kWarpBarrier, kBlockBarrier, kEnd };

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

  // Each thread of a warp, or of all for −1, up to its next barrier; false if none could move.
  bool step(const std::vector<int>& order, int only) {
    bool moved = false;
    for (const int thread : order) {
      if (fibers_[thread].at != kCode || (only >= 0 && thread / kWarp != only)) continue;
      resume(thread);
      moved = true;
    }
    for (std::size_t warp = 0; warp < fibers_.size(); warp += kWarp)
      moved |= release(warp, std::min(warp + kWarp, fibers_.size()), kWarpBarrier);
    return release(0, fibers_.size(), kBlockBarrier) || moved;
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
    threadIdx = {unsigned(thread), 0, 0};
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
  Slot slots_[1024];
  std::function<void()> kernel_;
  ucontext_t scheduler_;
  int running_ = 0;
  void* sanitizer_ = nullptr;
  const void* stack_ = nullptr;
  std::size_t stack_size_ = 0;
};

constexpr std::size_t kSharedBytes = 64 << 10;  // of the device

// Of the block that runs: so many bytes and not one more.
inline std::unique_ptr<char[]> shared_memory;
inline void* dynamic_shared() { return shared_memory.get(); }

// kernel<<<blocks, threads, shared>>>(arguments…)
template <class... Parameters, class... Arguments>
void launch_with_shared(void (*kernel)(Parameters...), dim3 blocks, unsigned threads,
                        unsigned shared, Arguments... arguments) {
  if (shared > kSharedBytes) {
    std::puts("more shared memory than the device has");
    std::exit(1);
  }
  if (shared > 0) shared_memory.reset(new char[shared]);
  if (blocks.x == 0 || blocks.y == 0 || blocks.y > 65535 || threads == 0 || threads > 1024) {
    std::puts("a launch that CUDA refuses");
    std::exit(1);
  }
  gridDim = blocks, blockDim = dim3(threads);
  std::vector<unsigned> order(blocks.x * blocks.y);
  std::iota(order.begin(), order.end(), 0u);
  std::shuffle(order.begin(), order.end(), random_order());
  for (const unsigned block : order) {
    blockIdx = {block % blocks.x, block / blocks.x, 0};
    if (shared > 0) std::memset(shared_memory.get(), 0xff, shared);
    Block(int(threads), [&] { kernel(arguments...); }).run();
  }
  shared_memory.reset();
}

// kernel<<<blocks, threads>>>(arguments…)
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 blocks, unsigned threads, Arguments... arguments) {
  launch_with_shared(kernel, blocks, threads, 0, arguments...);
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
