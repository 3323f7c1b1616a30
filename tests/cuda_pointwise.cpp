// The CUDA pointwise sweep on the host, bit for bit against a plain loop over the same number type:
// sizes, starts and grids at which a head, a tail or a step could be wrong. Prints what differs,
// or "clean".
#include <cstring>

#include "cuda_on_host.h"
// After the shim, whose names it uses.
#include "cuda/pointwise_sweep.cuh"
#include "cuda_arrays.h"

using namespace activations_ext;

namespace {

template <Pass kPass, class S, class A>
void compare(const A& f, int64_t count, int offset_out, int offset_a, int offset_b, int blocks) {
  const auto a = drawn<S>(count, 3.0, offset_a), b = drawn<S>(count, 3.0, offset_b);
  Array<S> out(count, offset_out), expected(count);
  for (int64_t i = 0; i < count; ++i)
    expected[i] = cuda::rounded<S>(evaluate<kPass>(f, a.number(i), b.number(i)));
  cuda_on_host::launch(&cuda::pointwise<kPass, A, S>, blocks, 32, f, out.data(), a.read(), b.read(),
                       count);
  expect(std::memcmp(out.data(), expected.data(), count * sizeof(S)) == 0,
         "%s, pass %d, %d bytes: differs with %ld elements from %d, %d and %d", A::kName,
         int(kPass), int(sizeof(S)), long(count), offset_out, offset_a, offset_b);
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
  return verdict();
}
