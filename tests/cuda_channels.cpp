// The CUDA kernels with a weight for each channel on the host: values and gradients bit for bit,
// the weight's gradient against a sum in double, and the same in every order of the threads. Prints
// what differs, or "clean".
#include <cmath>
#include <vector>

#include "cuda_on_host.h"
// After the shim, whose names it uses.
#include "activations/prelu.h"
#include "cuda/channel_sweep.cuh"
#include "cuda_arrays.h"

using namespace activations_ext;

namespace {

template <class S>
void compare(int64_t outer, int64_t channels, int64_t inner, int offset) {
  const int64_t count = outer * channels * inner;
  const auto x = drawn<S>(count, 1.0, offset), grad = drawn<S>(count), weight = drawn<S>(channels);
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
  cuda::launch_channel_forward<PReLU>(out.data(), x.read(), weight.read(), at, nullptr);
  const auto check = [&](bool sound, const char* what) {
    expect(sound, "%s of (%ld, %ld, %ld) from %d, %d bytes, differs", what, long(outer),
           long(channels), long(inner), offset, int(sizeof(S)));
  };
  check(out == expected, "the value");

  Array<S> first(channels), again(channels);
  for (Array<S>* grad_weight : {&first, &again}) {
    Array<double> partial(cuda::channel_splits_of(at) * channels);
    cuda::launch_channel_backward<PReLU>(grad_input.data(), grad_weight->data(), partial.data(),
                                         grad.read(), x.read(), weight.read(), at, nullptr);
  }
  check(grad_input == expected_input, "the input's gradient");
  check(first == again, "the weight's gradient, computed again,");
  const double precision = sizeof(S) == 2 ? 1e-2 : 1e-5;
  for (int64_t channel = 0; channel < channels; ++channel) {
    const double off = std::fabs(double(first.number(channel)) - expected_weight[channel]);
    check(off <= precision * (1 + std::fabs(expected_weight[channel])), "the weight's gradient");
  }
}

// One channel; runs of packs, of numbers and shorter than a pack; neighbouring channels, in packs
// and not. Large enough for several parts of a sum.
template <class S>
void shapes() {
  for (const int offset : {0, 1}) {
    compare<S>(1, 1, 1, offset);
    compare<S>(1, 1, 20000, offset);
    compare<S>(7, 5, 33, offset);
    compare<S>(2, 3, 400, offset);
    compare<S>(90, 2, 96, offset);
    compare<S>(50, 3, 2, offset);
    compare<S>(50, 40, 1, offset);
    compare<S>(300, 7, 1, offset);
    compare<S>(400, 320, 1, offset);
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
