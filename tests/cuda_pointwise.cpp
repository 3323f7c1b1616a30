// The CUDA pointwise sweep on the host, bit for bit against a plain loop over the same number type:
// sizes, starts, strides and blocks at which an edge, a shift or a step could be wrong. Prints what
// differs, or "clean".
#include <cstring>
#include <vector>

#include "cuda_on_host.h"
// After the shim, whose names it uses.
#include "cuda/pointwise_sweep.cuh"
#include "cuda_arrays.h"

using namespace activations_ext;

namespace {

int readings[4] = {};

template <Pass kPass, class S, class A>
void run(const A& f, const Array<S>& out, const Array<S>& a, const Array<S>& b,
         const cuda::Walk& walk) {
  const auto on = [&](const auto& in) {
    const cuda::Plan plan(out.read(), in, out.size());
    ++readings[int(plan.reading)];
    cuda_on_host::launch(&cuda::pointwise<kPass, A, S>, unsigned(plan.blocks(32)), 32, f,
                         cuda::Outputs<S, 1>{{out.data()}}, in, plan);
  };
  if constexpr (kPass == Pass::kForward) {
    on(cuda::Inputs<S, 1>{{a.read()}, walk});
  } else {
    on(cuda::Inputs<S, 2>{{a.read(), b.read()}, walk});
  }
}

template <Pass kPass, class S, class A>
S expected(const A& f, const Array<S>& a, const Array<S>& b, int64_t in_a, int64_t in_b) {
  return cuda::rounded<S>(evaluate<kPass>(f, a.number(in_a), b.number(in_b)));
}

template <Pass kPass, class S, class A>
void compare_dense(const A& f, int64_t count, int offset_out, int offset_a, int offset_b) {
  const auto a = drawn<S>(count, 3.0, offset_a), b = drawn<S>(count, 3.0, offset_b);
  Array<S> out(count, offset_out), right(count, offset_out);
  for (int64_t i = 0; i < count; ++i) right[i] = expected<kPass>(f, a, b, i, i);
  run<kPass>(f, out, a, b, {});
  expect(out == right, "%s, pass %d, %d bytes: differs with %ld elements from %d, %d and %d",
         A::kName, int(kPass), int(sizeof(S)), long(count), offset_out, offset_a, offset_b);
  Array<S> over(a);  // in place; b elsewhere may still be shifted
  Array<S> right_over(count, offset_a);
  for (int64_t i = 0; i < count; ++i) right_over[i] = right[i];
  run<kPass>(f, over, over, b, {});
  expect(over == right_over, "%s, pass %d, %d bytes: differs in place with %ld elements, %d and %d",
         A::kName, int(kPass), int(sizeof(S)), long(count), offset_a, offset_b);
}

// An output of sizes[0] × sizes[1] × …, innermost first, whose inputs have these strides.
template <Pass kPass, class S, class A>
void compare_strided(const A& f, std::vector<int64_t> sizes, std::vector<int64_t> strides_a,
                     std::vector<int64_t> strides_b, int offset_out, int offset_a) {
  cuda::Walk walk(sizes);
  int64_t count = 1, last_a = 0, last_b = 0;
  for (int d = 0; d < walk.dims; ++d) {
    walk.strides[0][d] = strides_a[d], walk.strides[1][d] = strides_b[d];
    count *= sizes[d];
    last_a += (sizes[d] - 1) * strides_a[d], last_b += (sizes[d] - 1) * strides_b[d];
  }
  const auto a = drawn<S>(last_a + 1, 3.0, offset_a), b = drawn<S>(last_b + 1, 3.0);
  Array<S> out(count, offset_out), right(count, offset_out);
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i, in_a = 0, in_b = 0;
    for (int d = 0; d < walk.dims; rest /= sizes[d++])
      in_a += rest % sizes[d] * strides_a[d], in_b += rest % sizes[d] * strides_b[d];
    right[i] = expected<kPass>(f, a, b, in_a, in_b);
  }
  run<kPass>(f, out, a, b, walk);
  expect(out == right, "%s, pass %d, %d bytes: differs with %d dimensions, the first %ld of %ld",
         A::kName, int(kPass), int(sizeof(S)), walk.dims, long(sizes[0]), long(count));
}

template <Pass kPass, class S, class A>
void awkward(const A& f) {
  for (const int64_t count : {1, 3, 7, 8, 9, 31, 100, 777})
    for (const int offset : {0, 1, 3}) {
      compare_dense<kPass, S>(f, count, offset, offset, offset);
      compare_dense<kPass, S>(f, count, offset, 1 - offset % 2, offset);
      compare_dense<kPass, S>(f, count, offset, offset, 2);
      compare_dense<kPass, S>(f, count, offset, 5, 7);
    }
  // Half of each row, a transposed input, one that is expanded, four dimensions.
  for (const int64_t row : {16, 24, 7})
    for (const int offset : {0, 1}) {
      compare_strided<kPass, S>(f, {row, 9}, {1, 2 * row}, {1, row}, offset, 0);
      compare_strided<kPass, S>(f, {row, 9}, {1, 2 * row}, {1, 2 * row}, 0, offset);
    }
  compare_strided<kPass, S>(f, {5, 33}, {33, 1}, {1, 5}, 0, 0);
  compare_strided<kPass, S>(f, {300}, {0}, {1}, 0, 0);
  compare_strided<kPass, S>(f, {16, 3, 2, 5}, {1, 160, 16, 32}, {1, 0, 64, 16}, 0, 0);
  compare_strided<kPass, S>(f, {3, 3, 2, 5}, {3, 1, 60, 12}, {1, 3, 9, 18}, 1, 2);
}

template <class S>
void every_pass() {
  awkward<Pass::kForward, S>(Mish{});
  awkward<Pass::kBackward, S>(GELU{});
  awkward<Pass::kCurvature, S>(SiLU{});
  awkward<Pass::kBackwardOfResult, S>(ReLU{});
  awkward<Pass::kCurvatureOfResult, S>(Tanh{});
}

template <class S>
__global__ void difference_times(S* out, cuda::Inputs<S, 3> in, cuda::Plan plan) {
  const auto f = [](S x, S y, S z) {
    return cuda::rounded<S>((cuda::widened(x) - cuda::widened(y)) * cuda::widened(z));
  };
  cuda::sweep(f, cuda::Outputs<S, 1>{{out}}, in, plan);
}
template <class S>
__global__ void difference_and_product(cuda::Outputs<S, 2> out, cuda::Inputs<S, 3> in,
                                       cuda::Plan plan) {
  const auto f = [](S x, S y, S z) {
    return cuda::Results<S, 2>{cuda::rounded<S>(cuda::widened(x) - cuda::widened(y)),
                               cuda::rounded<S>(cuda::widened(x) * cuda::widened(z))};
  };
  cuda::sweep(f, out, in, plan);
}

// Three inputs: alike, shifted, and one of them expanded. Two outputs: one of them over an input.
template <class S>
void three_inputs() {
  for (const int64_t count : {1, 8, 100, 776})
    for (const int offset : {0, 3})
      for (const bool expanded : {false, true}) {
        const auto x = drawn<S>(count), y = drawn<S>(count, 1.0, offset), z = drawn<S>(count);
        cuda::Walk walk;
        if (expanded) {
          walk = cuda::Walk(std::vector<int64_t>{count});
          walk.strides[0][0] = walk.strides[1][0] = 1;
        }
        Array<S> out(count), right(count);
        for (int64_t i = 0; i < count; ++i)
          right[i] = cuda::rounded<S>((x.number(i) - y.number(i)) * z.number(expanded ? 0 : i));
        const cuda::Inputs<S, 3> in = {{x.read(), y.read(), z.read()}, walk};
        const cuda::Plan plan(out.read(), in, count);
        cuda_on_host::launch(&difference_times<S>, unsigned(plan.blocks(32)), 32, out.data(), in,
                             plan);
        expect(out == right, "three inputs, %d bytes: differs with %ld elements from %d",
               int(sizeof(S)), long(count), offset);

        Array<S> second(count);
        for (int64_t i = 0; i < count; ++i) {
          right[i] = cuda::rounded<S>(x.number(i) - y.number(i));
          second[i] = cuda::rounded<S>(x.number(i) * z.number(expanded ? 0 : i));
        }
        cuda_on_host::launch(&difference_and_product<S>, unsigned(plan.blocks(32)), 32,
                             cuda::Outputs<S, 2>{{out.data(), x.data()}}, in, plan);
        expect(out == right && x == second, "two outputs, %d bytes: differ with %ld elements",
               int(sizeof(S)), long(count));
      }
}

void every_divisor() {
  for (int64_t by = 1; by < int64_t(1) << 31; by += 1 + by / 7)
    for (int64_t n : {int64_t(0), by - 1, by, 2 * by - 1, cuda::Walk::kMostElements / by * by - 1,
                      cuda::Walk::kMostElements})
      expect(n < 0 || n > cuda::Walk::kMostElements ||
                 cuda::Divider(by).quotient(uint32_t(n)) == uint32_t(n / by),
             "%ld / %ld", long(n), long(by));
}

}  // namespace

int main() {
  every_pass<float>();
  every_pass<double>();
  every_pass<cuda::BFloat16>();
  every_pass<cuda::Half>();
  three_inputs<float>();
  three_inputs<cuda::BFloat16>();
  every_divisor();
  for (const int runs : readings)
    expect(runs > 50, "a way of reading was hardly used: %d runs", runs);
  return verdict();
}
