// The operators softmax and log_softmax. Dtypes and layouts without kernels go to torch's own
// function.
#include "softmax_ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/WrapDimUtils.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/softmax.h>

#include "../autograd/batching.h"
#include "../device/checks.h"
#include "../device/launchers.h"
#include "../device/layout.h"
#include "operator.h"

namespace activations_ext {
namespace {

using at::Tensor;

// `dim` of an example, in the batch whose dimension is in front; an example without dimensions has
// one class.
template <class Compute>
Tensor of_examples(const Tensor& batch, int64_t dim, Compute compute) {
  const int64_t rank = batch.dim() - 1;
  dim = at::maybe_wrap_dim(dim, rank);
  if (rank == 0) return compute(batch.unsqueeze(1), 1).squeeze(1);
  return compute(batch, dim + 1);
}

template <bool kLogarithm>
constexpr const char* kName = kLogarithm ? "log_softmax" : "softmax";

template <bool kLogarithm>
struct SoftmaxBackward {
  static constexpr const char* kSchema =
      kLogarithm ? "log_softmax_backward(Tensor grad_output, Tensor result, int dim) -> Tensor"
                 : "softmax_backward(Tensor grad_output, Tensor result, int dim) -> Tensor";
  struct Arguments {
    Tensor grad_output, result;
    int64_t dim;
    auto members() { return std::tie(grad_output, result, dim); }
  };

  static Tensor kernel(const Arguments& of) {
    check_same(kName<kLogarithm>, of.grad_output, of.result);
    const int64_t dim = at::maybe_wrap_dim(of.dim, of.result.dim());
    check_storage(of.grad_output);
    check_storage(of.result);
    if (!has_kernels(of.result.scalar_type())) return formula(of);
    return launch_on(of.result).softmax_backward(of.grad_output, of.result, dim, kLogarithm);
  }
  static Tensor shape(const Arguments& of) {
    check_same(kName<kLogarithm>, of.grad_output, of.result);
    at::maybe_wrap_dim(of.dim, of.result.dim());
    return at::empty_like(of.result, at::MemoryFormat::Contiguous);
  }
  // y·(g − Σ y·g), and of the logarithm g − eʸ·Σ g
  static Tensor formula(const Arguments& of) {
    const auto& [g, y, dim] = of;
    if constexpr (kLogarithm) return g - y.exp() * g.sum(dim, /*keepdim=*/true);
    return y * (g - (y * g).sum(dim, /*keepdim=*/true));
  }
  static Tensor batched(const Arguments& of) {
    const bool any = vmap_level(of.grad_output) != 0 || vmap_level(of.result) != 0;
    return activations_ext::batched(
        of.grad_output, of.result, [&](const Tensor& g, const Tensor& y) {
          if (!any) return call<SoftmaxBackward>({g, y, of.dim});
          return of_examples(y, of.dim, [&](const Tensor& z, int64_t d) {
            return call<SoftmaxBackward>({g.reshape_symint(z.sym_sizes()), z, d});
          });
        });
  }
};

template <bool kLogarithm>
struct Softmax {
  static constexpr const char* kSchema = kLogarithm ? "log_softmax(Tensor input, int dim) -> Tensor"
                                                    : "softmax(Tensor input, int dim) -> Tensor";
  static constexpr Autocast kAutocast = Autocast::kFloatOnCuda;
  struct Arguments {
    Tensor input;
    int64_t dim;
    auto members() { return std::tie(input, dim); }
  };

  static Tensor kernel(const Arguments& of) {
    const int64_t dim = at::maybe_wrap_dim(of.dim, of.input.dim());
    check_storage(of.input);  // torch's operators would read memory that was freed
    if (!has_kernels(of.input.scalar_type())) return formula(of);
    return launch_on(of.input).softmax(of.input, dim, kLogarithm);
  }
  static Tensor shape(const Arguments& of) {
    at::maybe_wrap_dim(of.dim, of.input.dim());
    return at::empty_like(of.input, at::MemoryFormat::Contiguous);
  }
  static Tensor formula(const Arguments& of) {
    return kLogarithm ? at::log_softmax(of.input, of.dim) : at::softmax(of.input, of.dim);
  }
  static Tensor batched(const Arguments& of) {
    return activations_ext::batched(of.input, [&](const Tensor& x) {
      if (vmap_level(of.input) == 0) return call<Softmax>({x, of.dim});
      return of_examples(x, of.dim,
                         [](const Tensor& y, int64_t d) { return call<Softmax>({y, d}); });
    });
  }

  struct Saved {
    Tensor result;
    int64_t dim;
    auto members() { return std::tie(result, dim); }
  };
  static Saved save(const Arguments& of, const Tensor& result) { return {result, of.dim}; }
  static std::string title() { return camel_case(kName<kLogarithm>) + "Backward"; }
  static variable_list gradients(variable_list grads, const Saved& of, const Needed<1>&) {
    return {call_directly<SoftmaxBackward<kLogarithm>>({grads[0], of.result, of.dim})};
  }
  // softmax's Jacobian is symmetric; log_softmax's is the transpose of what backward applies.
  static Tensor tangent(const Arguments& of, const Tensor& result) {
    const Tensor tangent = tangent_of(of.input);
    if constexpr (kLogarithm)
      return tangent - (result.exp() * tangent).sum(of.dim, /*keepdim=*/true);
    return call<SoftmaxBackward<false>>({tangent, result, of.dim});
  }
};

const Operators<Softmax<false>, Softmax<true>, SoftmaxBackward<false>, SoftmaxBackward<true>>
    registered;

}  // namespace

Tensor softmax(const Tensor& input, int64_t dim) {
  return call_directly<Softmax<false>>({input, dim});
}
Tensor log_softmax(const Tensor& input, int64_t dim) {
  return call_directly<Softmax<true>>({input, dim});
}

}  // namespace activations_ext
