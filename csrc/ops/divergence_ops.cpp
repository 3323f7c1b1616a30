// The operator row_divergence and its gradient; see losses/divergence.h. On devices without kernels
// and for the teacher's gradient, torch's operators compute it.
#include "divergence_ops.h"

#include <ATen/ATen.h>
#include <ATen/MemoryOverlap.h>
#include <ATen/OpMathType.h>
#include <ATen/WrapDimUtils.h>

#include "../device/checks.h"
#include "../device/launchers.h"
#include "operator.h"

namespace activations_ext {
namespace {

using at::Tensor;

constexpr const char* kName = "row_divergence";

struct DivergenceArguments {
  Tensor logits, teacher;
  int64_t dim, kind;
  double beta, logit_scale;
  auto members() { return std::tie(logits, teacher, dim, kind, beta, logit_scale); }
};

c10::SymDimVector shape_of_rows(const DivergenceArguments& of, int64_t dim) {
  c10::SymDimVector rows(of.logits.sym_sizes().begin(), of.logits.sym_sizes().end());
  rows.erase(rows.begin() + dim);
  return rows;
}

int64_t checked_dim(const DivergenceArguments& of) {
  const auto& [logits, teacher, dim, kind, beta, logit_scale] = of;
  check_floating_point(kName, "logits", logits);
  TORCH_CHECK(logits.dim() > 0, kName,
              "(): expected argument 'logits' to have a dimension, but got ", logits.sym_sizes());
  TORCH_CHECK(
      teacher.sym_sizes() == logits.sym_sizes() && teacher.scalar_type() == logits.scalar_type(),
      kName, "(): expected argument 'teacher' to have the shape and dtype of 'logits', ",
      logits.sym_sizes(), " of ", logits.scalar_type(), ", but got ", teacher.sym_sizes(), " of ",
      teacher.scalar_type());
  check_same_device(kName, "teacher", teacher, "logits", logits);
  TORCH_CHECK_VALUE(0 <= kind && kind < kDivergenceKinds, kName,
                    "(): expected argument 'kind' to be from 0 to ", kDivergenceKinds - 1,
                    ", but got ", kind);
  TORCH_CHECK_VALUE(0 <= beta && beta <= 1, kName,
                    "(): expected argument 'beta' to be from 0 to 1, but got ", beta);
  const PositiveNumbers positive(logits.scalar_type());
  TORCH_CHECK_VALUE(positive.have(logit_scale), kName,
                    "(): expected argument 'logit_scale' to be from ", positive.least, " to ",
                    positive.largest, ", but got ", logit_scale);
  return at::maybe_wrap_dim(dim, logits.dim());
}

Divergence job_of(const DivergenceArguments& of, int64_t dim) {
  return {of.logits, of.teacher, dim, DivergenceKind(of.kind), of.beta, of.logit_scale};
}

bool has_kernels(const Tensor& logits) {
  return has_launchers(logits.device()) && launch_on(logits).has_divergences();
}

Tensor shared(const Tensor& share, const Tensor& number) {
  const Tensor none = share == 0;
  return at::where(none, 0, share * at::where(none, 0, number));
}

// log p, log q and the rest by torch's operators, in the type that computes.
struct Formula {
  int64_t dim;
  DivergenceKind kind;
  double beta;
  Tensor x, y, a, b, p, q, log_m;

  explicit Formula(const DivergenceArguments& of)
      : dim(at::maybe_wrap_dim(of.dim, of.logits.dim())),
        kind(DivergenceKind(of.kind)),
        beta(of.beta) {
    const auto dtype = at::toOpMathType(of.logits.scalar_type());
    x = of.logits.to(dtype) * of.logit_scale;
    y = of.teacher.to(dtype) * of.logit_scale;
    a = x.log_softmax(dim);
    b = y.log_softmax(dim);
    p = a.exp();
    q = b.exp();
    if (kind == DivergenceKind::kJensenShannon) log_m = (beta * q + (1 - beta) * p).log();
  }
  // What a class adds to the divergence, and to what the gradient needs.
  Tensor values() const {
    if (kind == DivergenceKind::kForward) return shared(q, b - a);
    if (kind == DivergenceKind::kReverse) return shared(p, a - b);
    return beta * shared(q, b - log_m) + (1 - beta) * shared(p, a - log_m);
  }
  Tensor own() const {
    if (kind == DivergenceKind::kForward) return at::zeros_like(p);
    return shared(p, a - (kind == DivergenceKind::kReverse ? b : log_m));
  }
  Tensor gradients() const {
    if (kind == DivergenceKind::kForward) return p - q;
    const Tensor sum = own().sum(dim, /*keepdim=*/true);
    if (kind == DivergenceKind::kReverse) return shared(p, a - b - sum);
    return (1 - beta) * shared(p, a - log_m - sum);
  }
  Tensor statistics() const {
    const auto of = [&](const Tensor& scaled) {
      const Tensor largest = scaled.amax(dim);
      const Tensor m = at::where(largest == -INFINITY, 0, largest);
      return std::array{m, (scaled - m.unsqueeze(dim)).exp().sum(dim).log()};
    };
    const auto student = of(x), teacher = of(y);
    return at::stack({student[0], student[1], teacher[0], teacher[1], own().sum(dim)}).detach();
  }
};

struct RowDivergenceBackward {
  static constexpr const char* kSchema =
      "row_divergence_backward(Tensor grad, Tensor logits, Tensor teacher, int dim, int kind, "
      "float beta, float logit_scale, Tensor statistics) -> Tensor";
  struct Arguments {
    Tensor grad;
    DivergenceArguments of;
    Tensor statistics;
    auto members() { return std::tuple_cat(std::tie(grad), of.members(), std::tie(statistics)); }
  };

  // Saved tensors come from the caller's hooks, and the operator is public.
  static int64_t check(const Arguments& arguments) {
    const auto& [grad, of, statistics] = arguments;
    const int64_t dim = checked_dim(of);
    c10::SymDimVector rows = shape_of_rows(of, dim);
    const auto dtype = at::toOpMathType(of.logits.scalar_type());
    const auto has = [&](const char* argument, const Tensor& tensor) {
      TORCH_CHECK(tensor.sym_sizes() == c10::SymIntArrayRef(rows) && tensor.scalar_type() == dtype,
                  "row_divergence_backward(): expected argument '", argument,
                  "' to be a tensor of ", dtype, " of shape ", c10::SymIntArrayRef(rows),
                  ", but got ", tensor.scalar_type(), " of shape ", tensor.sym_sizes());
      check_same_device("row_divergence_backward", argument, tensor, "logits", of.logits);
    };
    has("grad", grad);
    rows.insert(rows.begin(), kDivergenceStatistics);
    has("statistics", statistics);
    return dim;
  }
  static Tensor kernel(const Arguments& arguments) {
    const auto& [grad, of, statistics] = arguments;
    const int64_t dim = check(arguments);
    if (!has_kernels(of.logits)) return formula(arguments);
    check_storage(grad);
    check_storage(statistics);
    return launch_on(of.logits).divergence_backward(grad, job_of(of, dim), statistics,
                                                    /*overwrite=*/false);
  }
  static Tensor shape(const Arguments& arguments) {
    check(arguments);
    return at::empty_like(arguments.of.logits);
  }
  static Tensor formula(const Arguments& arguments) {
    const auto& [grad, of, statistics] = arguments;
    const Formula formula(of);
    const Tensor of_rows = grad.unsqueeze(formula.dim) * of.logit_scale;
    return (formula.gradients() * of_rows).to(of.logits.scalar_type());
  }
};

struct RowDivergence {
  static constexpr const char* kSchema =
      "row_divergence(Tensor logits, Tensor teacher, int dim, int kind, float beta, "
      "float logit_scale) -> (Tensor divergence, Tensor statistics)";
  using Arguments = DivergenceArguments;
  using Result = std::tuple<Tensor, Tensor>;

  static Result kernel(const Arguments& of) {
    const int64_t dim = checked_dim(of);
    if (!has_kernels(of.logits)) return formula(of);
    return launch_on(of.logits).divergence(job_of(of, dim));
  }
  static Result shape(const Arguments& of) {
    c10::SymDimVector rows = shape_of_rows(of, checked_dim(of));
    const auto options = of.logits.options().dtype(at::toOpMathType(of.logits.scalar_type()));
    const Tensor value = at::empty_symint(rows, options);
    rows.insert(rows.begin(), kDivergenceStatistics);
    return {value, at::empty_symint(rows, options)};
  }
  static Result formula(const Arguments& of) {
    const Formula formula(of);
    return {formula.values().sum(formula.dim), formula.statistics()};
  }

  struct Saved {
    DivergenceArguments of;
    Tensor statistics;
    auto members() { return std::tuple_cat(of.members(), std::tie(statistics)); }
  };
  static Saved save(const Arguments& of, const Result& result) { return {of, std::get<1>(result)}; }
  static variable_list differentiable(const Result& result) { return {std::get<0>(result)}; }
  static bool by_formula(const Arguments& of) {
    return torch::autograd::compute_requires_grad(of.teacher);
  }
  static std::string title() { return "RowDivergenceBackward"; }
  static constexpr std::size_t kInputs = 1;
  static variable_list gradients(variable_list grads, const Saved& saved, const Needed<1>&) {
    return {call<RowDivergenceBackward>({grads[0], saved.of, saved.statistics})};
  }
};

const Operators<RowDivergence, RowDivergenceBackward> registered;

}  // namespace

Tensor divergence_formula(const Tensor& logits, const Tensor& teacher, int64_t dim, int64_t kind,
                          double beta, double logit_scale) {
  const DivergenceArguments of = {logits, teacher, dim, kind, beta, logit_scale};
  checked_dim(of);
  return Formula(of).values().sum(at::maybe_wrap_dim(dim, logits.dim()));
}

Tensor divergence_gradient(const Tensor& grad, const Tensor& logits, const Tensor& teacher,
                           int64_t dim, int64_t kind, double beta, double logit_scale,
                           const Tensor& statistics) {
  const RowDivergenceBackward::Arguments arguments = {
      grad, {logits, teacher, dim, kind, beta, logit_scale}, statistics};
  if (!logits.is_cpu() || !is_plain_memory(logits) || !is_plain_memory(teacher))
    return call<RowDivergenceBackward>(arguments);
  const int64_t wrapped = RowDivergenceBackward::check(arguments);
  at::assert_no_internal_overlap(logits);
  at::assert_no_overlap(logits, teacher);
  return launch_on(logits).divergence_backward(grad, job_of(arguments.of, wrapped), statistics,
                                               /*overwrite=*/true);
}

}  // namespace activations_ext
