#include "formula.h"

#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "../activations/all.h"
#include "../contract/evaluate.h"
#include "../device/checks.h"
#include "../kinds/parameters.h"
#include "symbolic.h"

namespace activations_ext {
namespace {

template <class T, class A>
at::Tensor evaluated(Pass pass, const A& activation, const at::Tensor& a, const at::Tensor& b) {
  at::Tensor result;
  for_each_pass<A>([&]<Pass kPass>() {
    if (kPass == pass) result = evaluate<kPass>(activation, T(a), T(b)).as_tensor();
  });
  return result.defined() ? result : at::zeros_like(a);  // the curvature of two straight lines
}

template <class A>
at::Tensor formula_of(Pass pass, const std::vector<double>& given, const at::Tensor& a,
                      const at::Tensor& b) {
  Parameters<A> parameters;
  TORCH_CHECK_VALUE(given.size() == parameters.size(), A::kName, "(): expected ", parameters.size(),
                    " parameters, but got ", given.size());
  std::copy(given.begin(), given.end(), parameters.begin());
  const at::ScalarType dtype = a.scalar_type();
  const A activation = make<A>(parameters, dtype);
  if (dtype == at::kDouble)
    return evaluated<SymbolicNumber<Grade::kDouble>>(pass, activation, a, b);
  if (dtype == at::kFloat) return evaluated<SymbolicNumber<Grade::kSingle>>(pass, activation, a, b);
  const at::Tensor wide = a.to(at::kFloat), also_wide = b.to(at::kFloat);
  return evaluated<SymbolicNumber<Grade::kQuick>>(pass, activation, wide, also_wide).to(dtype);
}

template <class A>
at::Tensor curvature_of(const at::Tensor& grad_output, const at::Tensor& saved,
                        const Values& values, bool of_result) {
  if constexpr (!kCurved<A>) {
    return at::zeros_like(grad_output);
  } else {
    Parameters<A> parameters;
    std::copy_n(values.begin(), kArity<A>, parameters.begin());
    const A activation = make<A>(parameters, saved.scalar_type());
    const auto curvature = [&](const Symbolic& s) -> Symbolic {
      if constexpr (kFromResult<A>) {
        if (of_result) return activation.curvature_of_result(s);
      }
      if constexpr (kFromInput<A>) return activation.curvature(s);
      TORCH_INTERNAL_ASSERT(false);
    };
    return (Symbolic(grad_output) * curvature(saved)).tensor;
  }
}

}  // namespace

at::Tensor curvature_formula(const Kind& kind, const at::Tensor& grad_output,
                             const at::Tensor& saved, const Values& values, bool of_result) {
  at::Tensor result;
  Activations::for_each([&]<class A>() {
    if (kind.index == Activations::index_of<A>())
      result = curvature_of<A>(grad_output, saved, values, of_result);
  });
  return result;
}

at::Tensor formula(const std::string& name, Pass pass, const std::vector<double>& parameters,
                   const at::Tensor& a, const at::Tensor& b) {
  check_floating_point(name.c_str(), "input", a);
  at::Tensor result;
  Activations::for_each([&]<class A>() {
    if (name == A::kName) result = formula_of<A>(pass, parameters, a, b);
  });
  TORCH_CHECK_VALUE(result.defined(), "expected the name of an activation, but got '", name, "'");
  return result;
}

}  // namespace activations_ext
