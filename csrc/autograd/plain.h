// Which calls may bypass the dispatcher and go straight to the kernels.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/record_function.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "../device/checks.h"
#include "../device/launchers.h"
#include "torch_version.h"

namespace activations_ext {

// No dispatch mode, functorch transform, autocast, tracer, inference mode or profiler is active on
// this thread.
inline bool nothing_intercepts() {
  const auto local = c10::impl::tls_local_dispatch_key_set();
  return local.included_ == c10::default_included_set &&
         without_names(local.excluded_) == c10::default_excluded_set && !at::hasCallbacks();
}

// A dense tensor of a device with launchers, and no subclass, wrapper, conjugate or zero tensor.
inline bool is_plain_memory(const at::Tensor& tensor) {
  constexpr c10::DispatchKeySet kCpu({c10::DispatchKey::CPU, c10::DispatchKey::AutogradCPU,
                                      c10::DispatchKey::ADInplaceOrView,
                                      c10::DispatchKey::AutocastCPU});
  constexpr c10::DispatchKeySet kCuda({c10::DispatchKey::CUDA, c10::DispatchKey::AutogradCUDA,
                                       c10::DispatchKey::ADInplaceOrView,
                                       c10::DispatchKey::AutocastCUDA});
  const c10::DispatchKeySet keys = tensor.key_set();
  return kCpu.has_all(keys) || (kCuda.has_all(keys) && has_launchers(tensor.device()));
}

// The same of a dtype with kernels.
inline bool is_plain(const at::Tensor& tensor) {
  return is_plain_memory(tensor) && has_kernels(tensor.scalar_type());
}

// Our operators can compute with it; everything else goes to torch's functions. Python decides
// about subclasses with a __torch_dispatch__, and about traces.
inline bool has_kernel(const at::Tensor& tensor) {
  if (c10::impl::tls_is_dispatch_key_included(c10::DispatchKey::Tracer)) return false;
  if (is_plain(tensor)) return true;
  return has_kernels(tensor.scalar_type()) && tensor.layout() == at::kStrided &&
         (tensor.is_meta() || has_launchers(tensor.device())) && !tensor.is_nested() &&
         !tensor.key_set().has(c10::DispatchKey::Python);
}

}  // namespace activations_ext
