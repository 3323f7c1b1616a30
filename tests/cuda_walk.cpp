// walk_of on the CPU's tensors: element i of the walk is what the input has where the output has
// its i-th in memory. Random shapes, permuted, sliced, expanded and with dimensions of size 1.
// Prints what differs, or "clean".
#include <ATen/ops/arange.h>
#include <ATen/ops/empty_like.h>

#include <cstdio>
#include <random>

#include "cuda/walk_of.h"

using namespace activations_ext;

namespace {

std::mt19937 random_numbers(1);
int64_t below(int64_t n) { return int64_t(random_numbers() % uint64_t(n)); }

// Numbers that are all different, of this shape, in memory of any kind.
at::Tensor laid_out_somehow(at::IntArrayRef shape) {
  std::vector<int64_t> order(shape.size()), memory;
  for (std::size_t d = 0; d < shape.size(); ++d) order[d] = int64_t(d);
  std::shuffle(order.begin(), order.end(), random_numbers);
  std::vector<int64_t> back(shape.size());
  for (std::size_t k = 0; k < order.size(); ++k) {
    memory.push_back(shape[order[k]] * (below(3) == 0 ? 2 : 1) + below(2));
    back[order[k]] = int64_t(k);
  }
  int64_t count = 1;
  for (const int64_t size : memory) count *= size;
  at::Tensor tensor = at::arange(count, at::kFloat).view(memory).permute(back);
  for (std::size_t d = 0; d < shape.size(); ++d) {
    const bool twice = tensor.size(d) >= 2 * shape[d] && below(2) == 0;
    tensor = tensor.slice(d, 0, twice ? 2 * shape[d] : shape[d], twice ? 2 : 1);
    if (below(6) == 0) {
      std::vector<int64_t> sizes = tensor.sizes().vec();
      tensor = tensor.slice(d, 0, 1).expand(sizes);
    }
  }
  return tensor;
}

bool compare(at::IntArrayRef shape, int count) {
  std::vector<at::Tensor> inputs;
  while (int(inputs.size()) < count) inputs.push_back(laid_out_somehow(shape));
  const at::Tensor out = at::empty_like(inputs[0]);
  if (!out.is_non_overlapping_and_dense()) return true;
  const std::optional<cuda::Walk> walk = cuda::walk_of(out, inputs);
  if (!walk) return true;
  for (int input = 0; input < int(inputs.size()); ++input) {
    // As the output lies in memory.
    const at::Tensor expected = at::empty_like(out).copy_(inputs[input]);
    const auto *numbers = inputs[input].const_data_ptr<float>(),
               *right = expected.const_data_ptr<float>();
    for (int64_t i = 0; i < out.numel(); ++i) {
      const int64_t at = walk->dims == 0 ? i : walk->offset(input, i);
      if (numbers[at] == right[i]) continue;
      std::printf("input %d of %d dimensions: element %ld\n", input, int(shape.size()), long(i));
      return false;
    }
  }
  return true;
}

}  // namespace

int main() {
  for (int turn = 0; turn < 3000; ++turn) {
    std::vector<int64_t> shape(std::size_t(below(6)));
    for (int64_t& size : shape) size = below(4) == 0 ? 1 : 1 + below(5);
    if (!compare(shape, 1 + turn % cuda::Walk::kMostInputs)) return 1;
  }
  std::puts("clean");
}
