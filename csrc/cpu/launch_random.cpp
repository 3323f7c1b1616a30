#include <ATen/ops/empty_like.h>

#include "cpu_launchers.h"
#include "philox.h"
#include "share.h"

namespace activations_ext::cpu {

at::Tensor CpuLaunchers::random(int index, const void* activation, const at::Tensor& a,
                                const at::Tensor& gate, const at::Tensor& seed) const {
  check_storage(a);
  check_storage(gate);
  const at::Tensor x = a.contiguous(), y = gate.contiguous();
  const at::Tensor out = empty_output(x, y);
  const int64_t count = x.numel(), itemsize = x.itemsize();
  const auto kernel = kernels().random[index][int(number_of(x.scalar_type()))];
  const auto stream = static_cast<uint64_t>(*static_cast<const int64_t*>(readable(seed)));
  char* const to = static_cast<char*>(out.mutable_data_ptr());
  char* const from = static_cast<char*>(const_cast<void*>(x.const_data_ptr()));
  char* const gates = static_cast<char*>(const_cast<void*>(y.const_data_ptr()));
  share(count, kRandomChunk, worth::kElements, [&](int64_t begin, int64_t end) {
    const int64_t offset = begin * itemsize;
    char* const operands[] = {to + offset, from + offset, gates + offset};
    kernel(activation, operands, stream, begin, end - begin);
  });
  if (a.is_contiguous()) return out;
  return at::empty_like(layout_of(a, gate)).copy_(out);
}

}  // namespace activations_ext::cpu
