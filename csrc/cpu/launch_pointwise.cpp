#include <ATen/EmptyTensor.h>
#include <ATen/ops/empty_like.h>

#include "cpu_launchers.h"
#include "elementwise.h"
#include "large_blocks.h"

namespace activations_ext::cpu {

namespace {
const KernelTable* table = nullptr;

const CpuLaunchers launchers;
const bool known = set_launchers(at::kCPU, launchers);
}  // namespace

void set_kernels(const KernelTable* kernels) { table = kernels; }

const KernelTable& kernels() { return *table; }

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
  const auto kernel =
      kernels().pointwise[op.index][int(number_of(out.scalar_type()))][int(op.pass)];
  run({kernel, op.activation, op.cheap ? worth::kCheapElements : worth::kElements}, {&out, &a, &b});
}

at::Tensor CpuLaunchers::pointwise(const Pointwise& op, const at::Tensor& a,
                                   const at::Tensor& b) const {
  const at::Tensor out = empty_output(a, b);
  pointwise_into(out, op, a, b);
  return out;
}

}  // namespace activations_ext::cpu
