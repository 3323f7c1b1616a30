#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty_like.h>

#include <cstring>

#include "cpu_launchers.h"
#include "large_blocks.h"

namespace activations_ext::cpu {

namespace {
const KernelTable* table = nullptr;

const CpuLaunchers launchers;
const bool known = set_launchers(at::kCPU, launchers);
}  // namespace

void set_kernels(const KernelTable* kernels) { table = kernels; }

const KernelTable& kernels() { return *table; }

namespace {

// Work is split at multiples of this many elements: a multiple of the cache line for every dtype.
constexpr int64_t kBlock = 1024;

struct Flat {
  void* out;
  const void* a;
  const void* b;
};

void run_flat(const Pointwise& op, PointwiseKernel kernel, Flat at, int64_t count, int64_t itemsize,
              bool stream) {
  const auto range = [&](int64_t begin, int64_t end) {
    const auto advance = [&](auto* base) -> decltype(base) {
      if (base == nullptr) return nullptr;
      using Byte = std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(base)>>,
                                      const char, char>;
      return static_cast<Byte*>(base) + begin * itemsize;
    };
    kernel(op.activation, advance(at.out), advance(at.a), advance(at.b), end - begin, stream);
  };
  const int64_t grain = op.cheap ? 32 * kBlock : 8 * kBlock;
  if (count <= grain) return range(0, count);
  at::parallel_for(
      0, (count + kBlock - 1) / kBlock, grain / kBlock,
      [&](int64_t begin, int64_t end) { range(begin * kBlock, std::min(end * kBlock, count)); });
}

// Any strides: rows of the iterator, through small contiguous buffers where a row is not
// contiguous.
void run_strided(const Pointwise& op, PointwiseKernel kernel, const at::Tensor& out,
                 const at::Tensor& a, const at::Tensor& b) {
  at::TensorIteratorConfig config;
  config.resize_outputs(false).check_all_same_dtype(true).add_output(out).add_const_input(a);
  if (b.defined()) config.add_const_input(b);
  auto iterator = config.build();
  const int64_t itemsize = out.itemsize();

  constexpr int64_t kBuffer = 512;
  const auto copy = [itemsize](char* to, int64_t to_stride, const char* from, int64_t from_stride,
                               int64_t count) {
    const auto with_size = [&]<class Word>() {
      for (int64_t i = 0; i < count; ++i)
        std::memcpy(to + i * to_stride, from + i * from_stride, sizeof(Word));
    };
    if (itemsize == 2) return with_size.operator()<uint16_t>();
    if (itemsize == 4) return with_size.operator()<uint32_t>();
    return with_size.operator()<uint64_t>();
  };
  const auto row = [&](char* const* data, const int64_t* strides, int64_t count) {
    const bool contiguous = strides[0] == itemsize && strides[1] == itemsize &&
                            (!b.defined() || strides[2] == itemsize);
    const void* second = b.defined() ? data[2] : nullptr;
    if (contiguous) return kernel(op.activation, data[0], data[1], second, count, false);
    alignas(64) char x[kBuffer * sizeof(double)], y[kBuffer * sizeof(double)];
    for (int64_t begin = 0; begin < count; begin += kBuffer) {
      const int64_t size = std::min(kBuffer, count - begin);
      copy(x, itemsize, data[1] + begin * strides[1], strides[1], size);
      if (b.defined()) copy(y, itemsize, data[2] + begin * strides[2], strides[2], size);
      kernel(op.activation, x, x, b.defined() ? y : nullptr, size, false);
      copy(data[0] + begin * strides[0], strides[0], x, itemsize, size);
    }
  };
  const int operands = iterator.ntensors();
  iterator.for_each([&](char** base, const int64_t* strides, int64_t size0, int64_t size1) {
    char* data[3];
    std::copy(base, base + operands, data);
    for (int64_t i = 0; i < size1; ++i) {
      row(data, strides, size0);
      for (int operand = 0; operand < operands; ++operand)
        data[operand] += strides[operands + operand];
    }
  });
}

}  // namespace

bool is_large(const at::Tensor& tensor) { return int64_t(tensor.nbytes()) >= kLargeBytes; }

at::Tensor empty_output(const at::Tensor& a, const at::Tensor& b) {
  if (a.is_contiguous() && !is_large(a))
    return at::detail::empty_cpu(a.sizes(), a.scalar_type(), /*pin_memory=*/false, std::nullopt);
  const at::Tensor& model = b.defined() ? layout_of(a, b) : a;
  if (!is_large(a)) return at::empty_like(model);
  const at::Tensor layout = at::empty_like(model, model.options().device(at::kMeta));
  return at::detail::empty_strided_generic(layout.sizes(), layout.strides(), large_blocks(),
                                           at::DispatchKeySet(at::DispatchKey::CPU),
                                           model.scalar_type());
}

void CpuLaunchers::pointwise_into(const at::Tensor& out, const Pointwise& op, const at::Tensor& a,
                                  const at::Tensor& b) const {
  const int64_t count = out.numel();
  if (count == 0) return;
  check_storage(a);
  if (b.defined()) check_storage(b);
  const auto kernel =
      kernels().pointwise[op.index][int(number_of(out.scalar_type()))][int(op.pass)];
  if (!same_dense_layout(out, a) || (b.defined() && !same_dense_layout(out, b)))
    return run_strided(op, kernel, out, a, b);

  const Flat at = {out.mutable_data_ptr(), a.const_data_ptr(),
                   b.defined() ? b.const_data_ptr() : nullptr};
  const bool in_place = at.out == at.a || at.out == at.b;
  run_flat(op, kernel, at, count, out.itemsize(),
           /*stream=*/!in_place && is_large(out));
}

at::Tensor CpuLaunchers::pointwise(const Pointwise& op, const at::Tensor& a,
                                   const at::Tensor& b) const {
  const at::Tensor out = empty_output(a, b);
  pointwise_into(out, op, a, b);
  return out;
}

}  // namespace activations_ext::cpu
