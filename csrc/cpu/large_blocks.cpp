#include "large_blocks.h"

#include <c10/core/CPUAllocator.h>

#if defined(__linux__)
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
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

// A small page before the start holds the size: the context of a DataPtr has to be the memory
// itself, or torch's copy-on-write (_lazy_clone) does not take it.
size_t header() {
  static const size_t page = size_t(sysconf(_SC_PAGESIZE));
  return page;
}
size_t& size_of(void* start) { return *(static_cast<size_t*>(start) - 1); }

void unmap(Block block) { munmap(block.start - header(), block.size + header()); }

// Whole huge pages; start is nullptr where there is no memory.
Block map_block(size_t size) {
  const size_t room = size + kPage;
  void* const mapped = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                            /*fd=*/-1, /*offset=*/0);
  if (mapped == MAP_FAILED) return {nullptr, 0};
  char* const begin = static_cast<char*>(mapped);
  const size_t before = kPage - reinterpret_cast<uintptr_t>(begin) % kPage;
  if (before > header()) munmap(begin, before - header());
  if (before < kPage) munmap(begin + before + size, kPage - before);
  (void)madvise(begin + before, size, MADV_HUGEPAGE);  // else the pages stay small
  size_of(begin + before) = size;
  return {begin + before, size};
}

// A number of bytes in a file of the kernel's; "max" and a missing file are no limit.
uint64_t limit_in(const std::string& path) {
  uint64_t bytes = 0;
  return std::ifstream(path) >> bytes ? bytes : UINT64_MAX;
}

// What the machine has and the control groups of this process allow.
uint64_t memory_of_process() {
  uint64_t least = uint64_t(sysconf(_SC_PHYS_PAGES)) * uint64_t(sysconf(_SC_PAGESIZE));
  least = std::min(least, limit_in("/sys/fs/cgroup/memory/memory.limit_in_bytes"));  // version 1
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (!line.starts_with("0::/")) continue;  // version 2: a path, each part of which has a limit
    for (std::string path = line.substr(3);; path.resize(path.rfind('/'))) {
      least = std::min(least, limit_in("/sys/fs/cgroup" + path + "/memory.max"));
      if (path.find('/') == std::string::npos) break;
    }
  }
  return least;
}

// The blocks that wait to be used again. Together with those in use they are never more than were
// in use at once, and alone never more than an eighth of the memory that the process may have.
class Waiting {
 public:
  // A block that is not much larger, the last one given; nullptr if there is none.
  Block take(size_t size) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return {nullptr, 0};
    ++takes_;
    auto best = blocks_.end();
    for (auto block = blocks_.begin(); block != blocks_.end(); ++block) {
      const bool fits = block->size >= size && block->size <= size + size / 8;
      if (fits && (best == blocks_.end() || block->size <= best->size)) best = block;
    }
    Block taken = {nullptr, 0};
    if (best != blocks_.end()) {
      taken = *best;
      total_ -= taken.size;
      blocks_.erase(best);
    }
    while (!blocks_.empty() && takes_ - blocks_.front().given > kPassedOver) drop_oldest();
    return taken;
  }

  void give(Block block) {
    used(-int64_t(block.size));
    if (madvise(block.start, block.size, MADV_FREE) == 0) {
      const std::unique_lock lock(mutex_, std::try_to_lock);
      if (lock) {
        blocks_.push_back({block, takes_});
        total_ += block.size;
        const uint64_t spare = uint64_t(std::max<int64_t>(0, most_in_use_ - in_use_));
        const uint64_t allowed = std::min(spare, limit());
        while (total_ > allowed) drop_oldest();
        return;
      }
    }
    unmap(block);
  }

  // So many bytes more are in use.
  void used(int64_t bytes) {
    const int64_t now = in_use_ += bytes;
    for (int64_t most = most_in_use_;
         now > most && !most_in_use_.compare_exchange_weak(most, now);) {
    }
  }

  void clear() {
    std::unique_lock lock(mutex_, std::defer_lock);
    for (int tries = 0; !lock.try_lock(); ++tries) {
      if (tries == 1000) return;  // held by a thread that did not come along into this child
      std::this_thread::yield();
    }
    while (!blocks_.empty()) drop_oldest();
  }

 private:
  struct WaitingBlock : Block {
    uint64_t given;  // when `takes_` was this
  };
  static constexpr uint64_t kPassedOver = 64;

  uint64_t limit() const {
    rlimit address_space;
    uint64_t least = memory_;
    if (getrlimit(RLIMIT_AS, &address_space) == 0)
      least = std::min<uint64_t>(least, address_space.rlim_cur);
    return least / 8;
  }

  void drop_oldest() {
    unmap(blocks_.front());
    total_ -= blocks_.front().size;
    blocks_.erase(blocks_.begin());
  }

  // Only ever tried: in a child of fork() the thread that held it may be gone.
  std::mutex mutex_;
  std::vector<WaitingBlock> blocks_;  // oldest first
  uint64_t total_ = 0, takes_ = 0;
  std::atomic<int64_t> in_use_ = 0, most_in_use_ = 0;
  const uint64_t memory_ = memory_of_process();
};

Waiting& waiting() {
  static Waiting* const blocks = new Waiting;  // tensors may outlive static objects
  return *blocks;
}

void release(void* start) {
  c10::profiledCPUMemoryReporter().Delete(start);
  waiting().give({static_cast<char*>(start), size_of(start)});
}

struct LargeBlocks final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    const size_t size = std::max<size_t>((bytes + kPage - 1) / kPage, 1) * kPage;
    Block block = waiting().take(size);
    if (block.start == nullptr) block = map_block(size);
    if (block.start == nullptr) {
      waiting().clear();
      block = map_block(size);
    }
    if (block.start == nullptr) return c10::GetCPUAllocator()->allocate(bytes);  // or its error
    waiting().used(int64_t(block.size));
    c10::profiledCPUMemoryReporter().New(block.start, block.size);
    return {block.start, block.start, &release, c10::DeviceType::CPU};
  }
  void copy_data(void* to, const void* from, size_t count) const override {
    default_copy_data(to, from, count);
  }
};

}  // namespace

c10::Allocator* large_blocks() {
  static c10::Allocator* const blocks = []() -> c10::Allocator* {
    const char* const wanted = std::getenv("ACTIVATIONS_EXT_LARGE_BLOCKS");
    if (wanted != nullptr && std::string(wanted) == "0") return c10::GetCPUAllocator();
    waiting();  // made here, as the header says
    return new LargeBlocks;
  }();
  return blocks;
}

void empty_cache() { waiting().clear(); }

#else

c10::Allocator* large_blocks() { return c10::GetCPUAllocator(); }

void empty_cache() {}

#endif

}  // namespace activations_ext::cpu
