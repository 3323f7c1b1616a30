// The CUDA pointwise sweep on the host, bit for bit against a plain loop over the same number type:
// sizes, starts and grids at which a head, a tail or a step could be wrong. Arrays have their exact
// size, for AddressSanitizer to see what lies beyond. Prints what differs, or "clean".
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "cuda_on_host.h"
// After the shim, whose names it uses.
#include "cuda/pointwise_sweep.cuh"

using namespace activations_ext;

namespace {

int failures = 0;

void* aligned(std::size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 16, bytes) != 0) std::abort();
  return memory;
}

template <class S>
struct Array {  // `count` numbers, `offset` of them after a multiple of 16 bytes
  char* memory;
  S* data;
  Array(int64_t count, int offset)
      : memory(static_cast<char*>(aligned((count + offset) * sizeof(S)))),
        data(reinterpret_cast<S*>(memory) + offset) {}
  ~Array() { std::free(memory); }
};

template <Pass kPass, class S, class A>
void compare(const A& f, int64_t count, int offset_out, int offset_a, int offset_b, int blocks) {
  static std::mt19937 random(1);
  static std::normal_distribution<double> normal(0.0, 3.0);
  Array<S> out(count, offset_out), a(count, offset_a), b(count, offset_b);
  for (int64_t i = 0; i < count; ++i) {
    a.data[i] = cuda::rounded<S>(cuda::Compute<S>(normal(random)));
    b.data[i] = cuda::rounded<S>(cuda::Compute<S>(normal(random)));
  }
  cuda_on_host::launch(&cuda::pointwise<kPass, A, S>, blocks, 32, f, out.data,
                       static_cast<const S*>(a.data), static_cast<const S*>(b.data), count);
  for (int64_t i = 0; i < count; ++i) {
    const S expected =
        cuda::rounded<S>(evaluate<kPass>(f, cuda::widened(a.data[i]), cuda::widened(b.data[i])));
    if (std::memcmp(&expected, &out.data[i], sizeof(S)) == 0) continue;
    if (failures++ < 5)
      std::printf("%s, pass %d, %d bytes: element %ld of %ld differs\n", A::kName, int(kPass),
                  int(sizeof(S)), long(i), long(count));
    return;
  }
}

template <Pass kPass, class S, class A>
void awkward(const A& f) {
  for (const int64_t count : {0, 1, 3, 7, 8, 9, 31, 100, 777})
    for (const int offset : {0, 1})
      for (const int blocks : {1, 3}) {
        compare<kPass, S>(f, count, offset, offset, offset, blocks);
        compare<kPass, S>(f, count, offset, 1 - offset, offset, blocks);
        compare<kPass, S>(f, count, offset, offset, 2, blocks);
      }
}

template <class S>
void every_pass() {
  awkward<Pass::kForward, S>(Mish{});
  awkward<Pass::kBackward, S>(GELU{});
  awkward<Pass::kCurvature, S>(SiLU{});
  awkward<Pass::kBackwardOfResult, S>(ReLU{});
  awkward<Pass::kCurvatureOfResult, S>(Tanh{});
}

}  // namespace

int main() {
  every_pass<float>();
  every_pass<double>();
  every_pass<cuda::BFloat16>();
  every_pass<cuda::Half>();
  if (failures == 0) std::puts("clean");
  return failures == 0 ? 0 : 1;
}
