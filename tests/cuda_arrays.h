// What the programs that run CUDA kernels on the host share: arrays of an exact size and start, and
// a count of what was found wrong. Include cuda_on_host.h before.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "cuda/storage.cuh"

namespace activations_ext {

// `count` numbers, `offset` of them after a multiple of 16 bytes, and nothing behind them that
// AddressSanitizer would not see.
template <class S>
class Array {
 public:
  explicit Array(int64_t count, int offset = 0) : count_(count), offset_(offset) {
    if (posix_memalign(&memory_, 16, (count + offset) * sizeof(S)) != 0) std::abort();
    std::memset(memory_, 0xff, (count + offset) * sizeof(S));
  }
  Array(const Array& other) : Array(other.count_, other.offset_) {
    std::memcpy(data(), other.data(), count_ * sizeof(S));
  }
  ~Array() { std::free(memory_); }
  Array& operator=(const Array&) = delete;

  S* data() const { return static_cast<S*>(memory_) + offset_; }
  const S* read() const { return data(); }
  int64_t size() const { return count_; }
  S& operator[](int64_t i) const { return data()[i]; }
  auto number(int64_t i) const { return cuda::widened(data()[i]); }

  // Equal bits: NaN is itself.
  bool operator==(const Array& other) const {
    return count_ == other.count_ && std::memcmp(data(), other.data(), count_ * sizeof(S)) == 0;
  }

 private:
  void* memory_ = nullptr;
  int64_t count_;
  int offset_;
};

// Normally distributed numbers.
template <class S>
Array<S> drawn(int64_t count, double deviation = 1.0, int offset = 0) {
  static std::mt19937 random(1);
  std::normal_distribution<double> normal(0.0, deviation);
  Array<S> numbers(count, offset);
  for (int64_t i = 0; i < count; ++i)
    numbers[i] = cuda::rounded<S>(cuda::Compute<S>(normal(random)));
  return numbers;
}

inline int failures = 0;

template <class... Details>
void expect(bool sound, const char* text, Details... details) {
  if (sound) return;
  std::printf(text, details...);
  std::puts("");
  if (++failures == 5) std::exit(1);  // more would say nothing new
}

// The last line of main.
inline int verdict() {
  if (failures == 0) std::puts("clean");
  return failures == 0 ? 0 : 1;
}

}  // namespace activations_ext
