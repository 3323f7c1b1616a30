#include "large_blocks.h"

#include <c10/core/CPUAllocator.h>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>
#endif

namespace activations_ext::cpu {

#if defined(__linux__)
namespace {

constexpr size_t kPage = size_t{2} << 20;  // a huge one

struct Block {
  char* start;
  size_t size;
};

// Whole huge pages; start is nullptr where there is no memory.
Block map_block(size_t size) {
  const size_t room = size + kPage;
  void* const mapped = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                            /*fd=*/-1, /*offset=*/0);
  if (mapped == MAP_FAILED) return {nullptr, 0};
  char* const begin = static_cast<char*>(mapped);
  const size_t before = (kPage - reinterpret_cast<uintptr_t>(begin) % kPage) % kPage;
  if (before > 0) munmap(begin, before);
  munmap(begin + before + size, kPage - before);
  (void)madvise(begin + before, size, MADV_HUGEPAGE);  // else the pages stay small
  return {begin + before, size};
}

// The blocks that wait. At most a quarter of the machine's memory does.
class Waiting {
 public:
  // A block that is not much larger, the last one given; nullptr if there is none.
  Block take(size_t size) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return {nullptr, 0};
    auto best = blocks_.end();
    for (auto block = blocks_.begin(); block != blocks_.end(); ++block) {
      const bool fits = block->size >= size && block->size <= size + size / 8;
      if (fits && (best == blocks_.end() || block->size <= best->size)) best = block;
    }
    if (best == blocks_.end()) return {nullptr, 0};
    const Block taken = *best;
    blocks_.erase(best);
    total_ -= taken.size;
    return taken;
  }

  void give(Block block) {
    if (madvise(block.start, block.size, MADV_FREE) == 0) {
      const std::unique_lock lock(mutex_, std::try_to_lock);
      if (lock) {
        blocks_.push_back(block);
        total_ += block.size;
        while (total_ > limit_) drop_oldest();
        return;
      }
    }
    munmap(block.start, block.size);
  }

  void clear() {
    const std::unique_lock lock(mutex_);
    while (!blocks_.empty()) drop_oldest();
  }

 private:
  void drop_oldest() {
    munmap(blocks_.front().start, blocks_.front().size);
    total_ -= blocks_.front().size;
    blocks_.erase(blocks_.begin());
  }

  // Tensors only try it: in a child of fork() the thread that held it may be gone.
  std::mutex mutex_;
  std::vector<Block> blocks_;  // oldest first
  size_t total_ = 0;
  const size_t limit_ = size_t(sysconf(_SC_PHYS_PAGES)) * size_t(sysconf(_SC_PAGESIZE)) / 4;
};

Waiting& waiting() {
  static Waiting* const blocks = new Waiting;  // tensors may outlive static objects
  return *blocks;
}

void release(void* context) {
  const std::unique_ptr<Block> block(static_cast<Block*>(context));
  c10::profiledCPUMemoryReporter().Delete(block->start);
  waiting().give(*block);
}

struct LargeBlocks final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    const size_t size = std::max<size_t>((bytes + kPage - 1) / kPage, 1) * kPage;
    auto block = std::make_unique<Block>(waiting().take(size));
    if (block->start == nullptr) *block = map_block(size);
    if (block->start == nullptr) {
      waiting().clear();
      *block = map_block(size);
    }
    if (block->start == nullptr) return c10::GetCPUAllocator()->allocate(bytes);  // or its error
    c10::profiledCPUMemoryReporter().New(block->start, block->size);
    void* const data = block->start;
    return {data, block.release(), &release, c10::DeviceType::CPU};
  }
  void copy_data(void* to, const void* from, size_t count) const override {
    default_copy_data(to, from, count);
  }
};

}  // namespace

c10::Allocator* large_blocks() {
  static LargeBlocks* const blocks = new LargeBlocks;
  return blocks;
}

void empty_cache() { waiting().clear(); }

#else

c10::Allocator* large_blocks() { return c10::GetCPUAllocator(); }

void empty_cache() {}

#endif

}  // namespace activations_ext::cpu
