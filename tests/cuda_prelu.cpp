// PReLU's CUDA kernels on the host: values and gradients bit for bit, the weight's gradient against
// a sum in double, and the same in every order of the threads. Prints what differs, or "clean".
#include <cmath>
#include <vector>

#include "cuda_on_host.h"
// After the shim, whose names it uses.
#include "cuda/prelu_sweep.cuh"
#include "cuda_arrays.h"

using namespace activations_ext;

namespace {

template <class S>
void compare(int64_t outer, int64_t channels, int64_t inner, int splits) {
  const int64_t count = outer * channels * inner;
  const auto x = drawn<S>(count), grad = drawn<S>(count), weight = drawn<S>(channels);
  const ChannelShape at = {outer, channels, inner};

  Array<S> out(count), expected(count), grad_input(count), expected_input(count);
  std::vector<double> expected_weight(channels);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t channel = i / inner % channels;
    const auto number = x.number(i), g = grad.number(i), w = weight.number(channel);
    expected[i] = cuda::rounded<S>(PReLU::value(number, w));
    expected_input[i] = cuda::rounded<S>(PReLU::grad_input(g, number, w));
    expected_weight[channel] += double(PReLU::grad_weight(g, number));
  }
  cuda_on_host::launch(&cuda::prelu<S>, 3, 64, out.data(), x.read(), weight.read(), at);
  const auto check = [&](bool sound, const char* what) {
    expect(sound, "%s of (%ld, %ld, %ld) differs", what, long(outer), long(channels), long(inner));
  };
  check(out == expected, "the value");

  const int lanes = inner == 1 ? cuda::kSumLanes : 1;
  const int64_t groups = (channels + lanes - 1) / lanes;
  Array<S> first(channels), again(channels);
  for (Array<S>* grad_weight : {&first, &again}) {
    Array<double> partial(splits * channels);
    cuda_on_host::launch(&cuda::prelu_backward<S>, unsigned(groups * splits), cuda::kSumThreads,
                         grad_input.data(), partial.data(), grad.read(), x.read(), weight.read(),
                         at, splits);
    cuda_on_host::launch(&cuda::prelu_grad_weight<S>, unsigned(channels / 64 + 1), 64,
                         grad_weight->data(), partial.read(), channels, splits);
  }
  check(grad_input == expected_input, "the input's gradient");
  check(first == again, "the weight's gradient, computed again,");
  const double precision = sizeof(S) == 2 ? 1e-2 : 1e-5;
  for (int64_t channel = 0; channel < channels; ++channel) {
    const double off = std::fabs(double(first.number(channel)) - expected_weight[channel]);
    check(off <= precision * (1 + std::fabs(expected_weight[channel])), "the weight's gradient");
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
  return verdict();
}
