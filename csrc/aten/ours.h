// Decides whether a tensor at one of torch's operators goes to our kernels, and as which
// activation. Everything else, including whatever torch raises an error for, goes on to torch's own
// kernel.
#pragma once

#include <ATen/MemoryOverlap.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Scalar.h>
#include <c10/util/string_view.h>
#include <torch/library.h>

#include <optional>
#include <string_view>

#include "../activations/elu.h"
#include "../device/checks.h"
#include "../device/launchers.h"
#include "../kinds/kind.h"

namespace activations_ext::aten {

using at::Tensor;

inline bool takes(const Tensor& tensor) {
  return tensor.is_cpu() && tensor.layout() == at::kStrided && has_kernels(tensor.scalar_type()) &&
         tensor.has_storage();
}
inline bool takes(const Tensor& grad_output, const Tensor& saved) {
  return takes(grad_output) && takes(saved) && grad_output.scalar_type() == saved.scalar_type() &&
         grad_output.sizes() == saved.sizes();
}

// run(A with these numbers), unless torch has an error to raise.
template <class A, class Run, class... Numbers>
void run_with(Run run, at::ScalarType dtype, const Numbers&... numbers) {
  std::optional<AnyActivation> activation;
  try {
    activation = kind_of<A>().make({c10::Scalar(numbers).toDouble()...}, dtype);
  } catch (const c10::Error&) {
    return;
  }
  run(*activation);
}

// Of torch's arguments, after the input.
template <class A>
struct As {
  template <class Run, class... Scalars>
  static void choose(Run run, at::ScalarType dtype, const Scalars&... scalars) {
    run_with<A>(run, dtype, scalars...);
  }
};
struct AsELU {  // or SELU, or CELU: scale·(e^(input_scale·x) − 1)·alpha
  template <class Run>
  static void choose(Run run, at::ScalarType dtype, const at::Scalar& alpha,
                     const at::Scalar& scale, const at::Scalar& input_scale) {
    const double a = alpha.toDouble(), s = scale.toDouble(), i = input_scale.toDouble();
    if (s == 1 && i == 1) return run_with<ELU>(run, dtype, a);
    constexpr SELU kSelu;
    if (i == 1 && a == kSelu.alpha && s == kSelu.scale) return run_with<SELU>(run, dtype);
    if (s == 1 && a != 0 && i == 1 / a) return run_with<CELU>(run, dtype, a);
  }
};
struct AsGELU {
  template <class Run>
  static void choose(Run run, at::ScalarType dtype, std::string_view approximate) {
    if (approximate == "none") return run_with<GELU>(run, dtype);
    if (approximate == "tanh") return run_with<GELUTanh>(run, dtype);
  }
};
struct AsReLU {  // threshold_backward of relu
  template <class Run>
  static void choose(Run run, at::ScalarType dtype, const at::Scalar& threshold) {
    if (threshold.toDouble() == 0) return run_with<ReLU>(run, dtype);
    run_with<Threshold>(run, dtype, threshold, 0.0);
  }
};

template <class Choose, auto kTorchs>
struct Forward;
template <class Choose, class... Extra, Tensor (*kTorchs)(const Tensor&, Extra...)>
struct Forward<Choose, kTorchs> {
  static Tensor call(const Tensor& x, Extra... extra) {
    Tensor result;
    const auto run = [&](const AnyActivation& activation) {
      result = launch_on(x).pointwise(activation.forward(), x, {});
    };
    if (takes(x)) Choose::choose(run, x.scalar_type(), extra...);
    return result.defined() ? result : kTorchs(x, extra...);
  }
};

template <class Choose, auto kTorchs>
struct InPlace;
template <class Choose, class... Extra, Tensor& (*kTorchs)(Tensor&, Extra...)>
struct InPlace<Choose, kTorchs> {
  static Tensor& call(Tensor& x, Extra... extra) {
    bool done = false;
    const auto run = [&](const AnyActivation& activation) {
      launch_on(x).pointwise_in_place(activation.forward(), x);
      done = true;
    };
    if (takes(x) && x.is_non_overlapping_and_dense())
      Choose::choose(run, x.scalar_type(), extra...);
    return done ? x : kTorchs(x, extra...);
  }
};

// `out` has the input's shape and dtype, and is the input itself or somewhere else.
inline bool takes_out(const Tensor& x, const Tensor& out) {
  if (!takes(x, out) || !out.is_non_overlapping_and_dense()) return false;
  const auto overlap = at::get_overlap_status(out, x);
  return overlap == at::MemOverlapStatus::No || overlap == at::MemOverlapStatus::Full;
}

template <class Choose, auto kTorchs, class Signature>
struct OutOf;
template <class Choose, auto kTorchs, class... Extra>
struct OutOf<Choose, kTorchs, Tensor(const Tensor&, Extra...)> {
  static Tensor& call(const Tensor& x, Extra... extra, Tensor& out) {
    bool done = false;
    const auto run = [&](const AnyActivation& activation) {
      launch_on(x).pointwise_into(out, activation.forward(), x, {});
      done = true;
    };
    if (takes_out(x, out)) Choose::choose(run, x.scalar_type(), extra...);
    return done ? out : kTorchs(x, extra..., out);
  }
};
// By the functional form, whose parameters it has besides.
template <class Choose, auto kTorchs, auto kFunctional>
using Out = OutOf<Choose, kTorchs, std::remove_pointer_t<decltype(kFunctional)>>;

template <class Choose, bool kOfResult, auto kTorchs>
struct Backward;
template <class Choose, bool kOfResult, class... Extra,
          Tensor (*kTorchs)(const Tensor&, const Tensor&, Extra...)>
struct Backward<Choose, kOfResult, kTorchs> {
  static Tensor call(const Tensor& grad_output, const Tensor& saved, Extra... extra) {
    Tensor result;
    const auto run = [&](const AnyActivation& activation) {
      if (kOfResult ? activation.kind->from_result : activation.kind->from_input)
        result = launch_on(saved).pointwise(activation.backward(kOfResult), grad_output, saved);
    };
    if (takes(grad_output, saved)) Choose::choose(run, saved.scalar_type(), extra...);
    return result.defined() ? result : kTorchs(grad_output, saved, extra...);
  }
};

template <class Form>
void implement(torch::Library& library, const char* name) {
  library.impl(name, &Form::call);
}
template <auto kFunction>
void implement_function(torch::Library& library, const char* name) {
  library.impl(name, kFunction);
}

}  // namespace activations_ext::aten
