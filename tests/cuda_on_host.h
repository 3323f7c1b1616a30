// CUDA kernels on the host: the threads of a block are fibers, which run one after another in an
// order drawn anew for each block, so that what no barrier orders comes out differently.
//
// Include this before the kernels. What a kernel sees (threadIdx, __syncthreads, …) has CUDA's
// names.
#pragma once

#include <ucontext.h>
#include <vector_types.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <random>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

// One block runs at a time.
#undef __shared__
#define __shared__ static

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

namespace cuda_on_host {

class Block {
 public:
  Block(int threads, std::function<void()> kernel, std::mt19937& random)
      : fibers_(threads), kernel_(std::move(kernel)), random_(random) {}

  // Returns when every thread has.
  void run() {
    current_ = this;
    std::vector<int> order(fibers_.size());
    std::iota(order.begin(), order.end(), 0);
    for (Fiber& fiber : fibers_) start(fiber);
    while (std::any_of(fibers_.begin(), fibers_.end(), alive)) {
      std::shuffle(order.begin(), order.end(), random_);
      for (const int thread : order) {
        if (alive(fibers_[thread]) && !fibers_[thread].waits) resume(thread);
      }
      // All that still run have come to the barrier.
      if (std::all_of(fibers_.begin(), fibers_.end(),
                      [](const Fiber& f) { return !alive(f) || f.waits; }))
        for (Fiber& fiber : fibers_) fiber.waits = false;
    }
  }

  static void barrier() {
    current_->fibers_[current_->running_].waits = true;
    current_->yield();
  }

 private:
  static constexpr std::size_t kStack = 128 << 10;
  struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    void* sanitizer = nullptr;
    bool done = false, waits = false;
  };
  static bool alive(const Fiber& fiber) { return !fiber.done; }

  void start(Fiber& fiber) {
    fiber.stack.resize(kStack);
    getcontext(&fiber.context);
    fiber.context.uc_stack = {fiber.stack.data(), 0, fiber.stack.size()};
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, &Block::body, 0);
  }

  void resume(int thread) {
    running_ = thread;
    threadIdx = {unsigned(thread), 0, 0};
    Fiber& fiber = fibers_[thread];
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&sanitizer_, fiber.stack.data(), fiber.stack.size());
#endif
    swapcontext(&scheduler_, &fiber.context);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(sanitizer_, nullptr, nullptr);
#endif
  }

  void yield() {
    Fiber& fiber = fibers_[running_];
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(fiber.done ? nullptr : &fiber.sanitizer, stack_, stack_size_);
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
    block.fibers_[block.running_].done = true;
    block.yield();
  }

  inline static Block* current_ = nullptr;
  std::vector<Fiber> fibers_;
  std::function<void()> kernel_;
  std::mt19937& random_;
  ucontext_t scheduler_;
  int running_ = 0;
  void* sanitizer_ = nullptr;
  const void* stack_ = nullptr;
  std::size_t stack_size_ = 0;
};

// kernel<<<blocks, threads>>>(arguments…)
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), unsigned blocks, unsigned threads,
            Arguments... arguments) {
  static std::mt19937 random(0);
  gridDim = dim3(blocks), blockDim = dim3(threads);
  std::vector<unsigned> order(blocks);
  std::iota(order.begin(), order.end(), 0u);
  std::shuffle(order.begin(), order.end(), random);
  for (const unsigned block : order) {
    blockIdx = {block, 0, 0};
    Block(int(threads), [&] { kernel(arguments...); }, random).run();
  }
}

}  // namespace cuda_on_host

inline void __syncthreads() { cuda_on_host::Block::barrier(); }
