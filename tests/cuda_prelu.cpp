// PReLU's CUDA kernels on the host: values and gradients bit for bit, the weight's gradient against
// a sum in double, and the same in every order of the threads. Prints what differs, or "clean".
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "cuda_on_host.h"
// After the shim, whose names it uses.
#include "cuda/prelu_sweep.cuh"

using namespace activations_ext;

namespace {

int failures = 0;

void expect(bool sound, const char* what, int64_t outer, int64_t channels, int64_t inner) {
  if (sound) return;
  if (failures++ < 5)
    std::printf("%s of (%ld, %ld, %ld) differs\n", what, long(outer), long(channels), long(inner));
}

template <class S>
bool same(const std::vector<S>& a, const std::vector<S>& b) {
  return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(S)) == 0;
}

template <class S>
void compare(int64_t outer, int64_t channels, int64_t inner, int splits) {
  static std::mt19937 random(1);
  static std::normal_distribution<double> normal;
  const auto draw = [&](int64_t count) {
    std::vector<S> numbers(count);
    for (S& number : numbers) number = cuda::rounded<S>(cuda::Compute<S>(normal(random)));
    return numbers;
  };
  const int64_t count = outer * channels * inner;
  const std::vector<S> x = draw(count), grad = draw(count), weight = draw(channels);
  const cuda::Channels at = {channels, inner};

  std::vector<S> out(count), expected(count), grad_input(count), expected_input(count);
  std::vector<double> expected_weight(channels);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t channel = i / inner % channels;
    const auto number = cuda::widened(x[i]), g = cuda::widened(grad[i]);
    const auto w = cuda::widened(weight[channel]);
    expected[i] = cuda::rounded<S>(PReLU::value(number, w));
    expected_input[i] = cuda::rounded<S>(PReLU::grad_input(g, number, w));
    expected_weight[channel] += PReLU::grad_weight(g, number);
  }
  cuda_on_host::launch(&cuda::prelu<S>, 3, 64, out.data(), x.data(), weight.data(), at, count);
  expect(same(out, expected), "the value", outer, channels, inner);

  const int lanes = inner == 1 ? cuda::kSumLanes : 1;
  const int64_t groups = (channels + lanes - 1) / lanes;
  std::vector<S> first(channels), again(channels);
  for (std::vector<S>* grad_weight : {&first, &again}) {
    std::vector<double> partial(splits * channels);
    cuda_on_host::launch(&cuda::prelu_backward<S>, unsigned(groups * splits), cuda::kSumThreads,
                         grad_input.data(), partial.data(), grad.data(), x.data(), weight.data(),
                         at, count, splits);
    cuda_on_host::launch(&cuda::prelu_grad_weight<S>, unsigned(channels / 64 + 1), 64,
                         grad_weight->data(), static_cast<const double*>(partial.data()), channels,
                         splits);
  }
  expect(same(grad_input, expected_input), "the input's gradient", outer, channels, inner);
  expect(same(first, again), "the weight's gradient, computed again,", outer, channels, inner);
  const double precision = sizeof(S) == 2 ? 1e-2 : 1e-5;
  for (int64_t channel = 0; channel < channels; ++channel) {
    const double off = std::fabs(cuda::widened(first[channel]) - expected_weight[channel]);
    expect(off <= precision * (1 + std::fabs(expected_weight[channel])), "the weight's gradient",
           outer, channels, inner);
  }
}

template <class S>
void shapes() {
  for (const int splits : {1, 3}) {
    compare<S>(1, 1, 1, splits);
    compare<S>(1, 1, 1000, splits);
    compare<S>(7, 5, 33, splits);
    compare<S>(2, 3, 400, splits);
    compare<S>(50, 40, 1, splits);
    compare<S>(3, 32, 1, splits);
    compare<S>(0, 4, 2, splits);
  }
}

}  // namespace

int main() {
  shapes<float>();
  shapes<double>();
  shapes<cuda::BFloat16>();
  shapes<cuda::Half>();
  if (failures == 0) std::puts("clean");
  return failures == 0 ? 0 : 1;
}
