#include "elementwise.h"

#include <array>
#include <cstring>

#include "cpu_launchers.h"

namespace activations_ext::cpu {
namespace {

// Stores that bypass the cache end in a fence, for each row of a view.
constexpr int64_t kWorthFence = 16 << 10;  // bytes

// Stores bypass the cache where outputs are large, and nothing is read there afterwards.
bool may_stream(Operands operands, std::size_t outputs) {
  if (!is_large(**operands.begin())) return false;
  const auto inputs = operands.begin() + outputs;
  return std::none_of(inputs, operands.end(), [&](const at::Tensor* in) {
    return in->defined() && std::any_of(operands.begin(), inputs, [&](const at::Tensor* out) {
             return in->const_data_ptr() == out->const_data_ptr();
           });
  });
}

// Operands of the same dense layout are flat memory.
void run_flat(const Elementwise& op, Operands operands, std::size_t outputs) {
  const at::Tensor& out = **operands.begin();
  const int64_t itemsize = out.itemsize();
  std::array<char*, kMostOperands> start;
  std::size_t count = 0;
  for (const at::Tensor* tensor : operands) {
    if (!tensor->defined()) continue;
    start[count] = static_cast<char*>(
        count < outputs ? tensor->mutable_data_ptr() : const_cast<void*>(tensor->const_data_ptr()));
    ++count;
  }
  const bool stream = may_stream(operands, outputs);
  share(out.numel(), kElementBlock, op.grain, [&](int64_t begin, int64_t end) {
    std::array<char*, kMostOperands> at;
    for (std::size_t k = 0; k < count; ++k) at[k] = start[k] + begin * itemsize;
    op.kernel(op.function, at.data(), end - begin, stream);
  });
}

}  // namespace

at::TensorIterator iterator_over(Operands operands, int outputs) {
  at::TensorIteratorConfig config;
  config.resize_outputs(false).check_all_same_dtype(true);
  // An input may be the same tensor object as the output.
  const auto inputs = operands.begin() + outputs;
  std::for_each(operands.begin(), inputs,
                [&](const at::Tensor* tensor) { config.add_output(*tensor); });
  std::for_each(inputs, operands.end(), [&](const at::Tensor* tensor) {
    if (tensor->defined()) config.add_const_input(*tensor);
  });
  return config.build();
}

ContiguousPieces::ContiguousPieces(const at::TensorIteratorBase& iterator, int outputs)
    : operands_(iterator.ntensors()), outputs_(outputs), itemsize_(iterator.element_size(0)) {}

void ContiguousPieces::copy(char* to, int64_t to_stride, const char* from, int64_t from_stride,
                            int64_t count) const {
  const auto with_size = [&]<class Word>() {
    for (int64_t i = 0; i < count; ++i)
      std::memcpy(to + i * to_stride, from + i * from_stride, sizeof(Word));
  };
  if (itemsize_ == 2) return with_size.operator()<uint16_t>();
  if (itemsize_ == 4) return with_size.operator()<uint32_t>();
  return with_size.operator()<uint64_t>();
}

void run(const Elementwise& op, Operands operands, int outputs) {
  const at::Tensor& out = **operands.begin();
  if (out.numel() == 0) return;
  bool alike = true;
  std::for_each(operands.begin() + 1, operands.end(), [&](const at::Tensor* tensor) {
    if (!tensor->defined()) return;
    check_storage(*tensor);
    alike = alike && same_dense_layout(out, *tensor);
  });
  if (alike) return run_flat(op, operands, outputs);

  at::TensorIterator iterator = iterator_over(operands, outputs);
  const int count = iterator.ntensors();
  const int64_t itemsize = out.itemsize();
  const bool large = may_stream(operands, outputs);
  iterator.for_each([&](char** base, const int64_t* strides, int64_t size, int64_t rows) {
    ContiguousPieces pieces(iterator, outputs);
    const bool direct =
        std::all_of(strides, strides + count, [&](int64_t s) { return s == itemsize; });
    for_each_row(base, strides, count, size, rows, [&](auto... row) {
      pieces(row..., [&](char* const* at, int64_t elements) {
        op.kernel(op.function, at, elements, large && direct && elements * itemsize >= kWorthFence);
      });
    });
  });
}

}  // namespace activations_ext::cpu
