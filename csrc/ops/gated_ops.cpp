// Gated linear units (gates/gated.h): of two tensors, or of one that holds both halves along a
// dimension. Only the inputs are saved. torch's operators compute them where there is no kernel.
#include "gated_ops.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <ATen/WrapDimUtils.h>

#include <cmath>

#include "../device/checks.h"
#include "../device/launchers.h"
#include "operator.h"

namespace activations_ext {
namespace {

using at::Tensor;

constexpr int64_t kClamped = Gates::index_of<ClampedSwiGLU>();

struct Options {
  int64_t kind;
  double alpha, limit, offset;
  auto members() { return std::tie(kind, alpha, limit, offset); }

  void check(const char* name) const {
    TORCH_CHECK_VALUE(0 <= kind && kind < Gates::kSize, name,
                      "(): expected argument 'kind' to be from 0 to ", Gates::kSize - 1,
                      ", but got ", kind);
    TORCH_CHECK_VALUE(std::isfinite(alpha) && alpha > 0, name,
                      "(): expected argument 'alpha' to be a positive number, but got ", alpha);
    TORCH_CHECK_VALUE(limit > 0, name,
                      "(): expected argument 'limit' to be a positive number, but got ", limit);
    TORCH_CHECK_VALUE(std::isfinite(offset), name,
                      "(): expected argument 'offset' to be a finite number, but got ", offset);
  }
  GateOptions for_kernels() const { return {int(kind), alpha, limit, offset}; }
};

struct Halves {
  Tensor gate, up;
};

void check_pair(const char* name, const Tensor& gate, const char* argument, const Tensor& tensor) {
  TORCH_CHECK(tensor.sym_sizes() == gate.sym_sizes() && tensor.scalar_type() == gate.scalar_type(),
              name, "(): expected argument '", argument,
              "' to have the shape and dtype of the gate, ", gate.sym_sizes(), " of ",
              gate.scalar_type(), ", but got ", tensor.sym_sizes(), " of ", tensor.scalar_type());
  check_same_device(name, argument, tensor, "gate", gate);
}

bool has_kernels(const Tensor& gate) {
  return has_launchers(gate.device()) && launch_on(gate).has_gates();
}

// The activation of the gate, in the type that computes.
Tensor activated(const Tensor& gate, const Options& of) {
  switch (of.kind) {
    case Gates::index_of<Gated<GELU>>():
      return at::gelu(gate);
    case Gates::index_of<Gated<GELUTanh>>():
      return at::gelu(gate, "tanh");
    case Gates::index_of<Gated<ReLU>>():
      return at::relu(gate);
    case Gates::index_of<Gated<Sigmoid>>():
      return at::sigmoid(gate);
    case Gates::index_of<BilinearUnit>():
      return gate;
    case kClamped:
      return at::silu(gate.clamp_max(of.limit) * of.alpha) / of.alpha;
    default:
      return at::silu(gate);
  }
}

Tensor formula_of(const Halves& given, const Options& of) {
  const auto dtype = at::toOpMathType(given.gate.scalar_type());
  const Tensor gate = given.gate.to(dtype);
  Tensor up = given.up.to(dtype);
  if (of.kind == kClamped) up = up.clamp(-of.limit, of.limit) + of.offset;
  return (activated(gate, of) * up).to(given.gate.scalar_type());
}

// By operators that have derivatives.
Halves gradients_formula(const Tensor& grad_output, const Halves& given, const Options& of) {
  const auto dtype = at::toOpMathType(given.gate.scalar_type());
  const Tensor gate = given.gate.to(dtype), up = given.up.to(dtype), grad = grad_output.to(dtype);
  const auto slopes = [&](const Tensor& factor, const Tensor& x) -> Tensor {
    const Tensor product = grad * factor;
    switch (of.kind) {
      case Gates::index_of<Gated<GELU>>():
        return at::gelu_backward(product, x);
      case Gates::index_of<Gated<GELUTanh>>():
        return at::gelu_backward(product, x, "tanh");
      case Gates::index_of<Gated<ReLU>>():
        return at::threshold_backward(product, x, 0);
      case Gates::index_of<Gated<Sigmoid>>():
        return product * at::sigmoid(x) * at::sigmoid(-x);
      case Gates::index_of<BilinearUnit>():
        return product;
      default: {  // silu_backward has no derivative
        const Tensor sigma = at::sigmoid(x);
        return product * sigma * (1 + x * (1 - sigma));
      }
    }
  };
  Halves result;
  if (of.kind == kClamped) {
    const Tensor factor = up.clamp(-of.limit, of.limit) + of.offset;
    result.gate = slopes(factor, gate.clamp_max(of.limit) * of.alpha);
    result.gate = at::where(gate > of.limit, 0, result.gate);
    result.up = at::where(up.abs() > of.limit, 0, grad * activated(gate, of));
  } else {
    result = {slopes(up, gate), grad * activated(gate, of)};
  }
  const auto narrow = given.gate.scalar_type();
  return {result.gate.to(narrow), result.up.to(narrow)};
}

// --- two tensors --------------------------------------------------------------------------------

struct PairArguments {
  Tensor gate, up;
  Options options;
  auto members() { return std::tuple_cat(std::tie(gate, up), options.members()); }

  void check(const char* name) const {
    options.check(name);
    check_floating_point(name, "gate", gate);
    check_pair(name, gate, "up", up);
  }
};

struct GatedBackward {
  static constexpr const char* kSchema =
      "gated_backward(Tensor grad_output, Tensor gate, Tensor up, int kind, float alpha, "
      "float limit, float offset) -> (Tensor, Tensor)";
  struct Arguments {
    Tensor grad_output;
    PairArguments of;
    auto members() { return std::tuple_cat(std::tie(grad_output), of.members()); }
  };
  using Result = std::tuple<Tensor, Tensor>;

  static void check(const Arguments& arguments) {
    arguments.of.check("gated_backward");
    check_pair("gated_backward", arguments.of.gate, "grad_output", arguments.grad_output);
  }
  static Result kernel(const Arguments& arguments) {
    check(arguments);
    const auto& [grad_output, of] = arguments;
    if (!has_kernels(of.gate)) return formula(arguments);
    const Launchers& launchers = launch_on(of.gate);
    const Result result = {launchers.empty_gradient(of.gate), launchers.empty_gradient(of.up)};
    launchers.gated_backward(of.options.for_kernels(), grad_output, of.gate, of.up,
                             std::get<0>(result), std::get<1>(result));
    return result;
  }
  static Result shape(const Arguments& arguments) {
    check(arguments);
    return {at::empty_like(arguments.of.gate), at::empty_like(arguments.of.up)};
  }
  static Result formula(const Arguments& arguments) {
    check(arguments);
    const auto& [grad_output, of] = arguments;
    const auto [gate, up] = gradients_formula(grad_output, {of.gate, of.up}, of.options);
    return {gate, up};
  }
};

struct GatedPair {
  static constexpr const char* kSchema =
      "gated(Tensor gate, Tensor up, int kind, float alpha, float limit, float offset) -> Tensor";
  using Arguments = PairArguments;

  static Tensor kernel(const Arguments& of) {
    of.check("gated");
    if (!has_kernels(of.gate)) return formula(of);
    return launch_on(of.gate).gated(of.options.for_kernels(), of.gate, of.up);
  }
  static Tensor shape(const Arguments& of) {
    of.check("gated");
    return at::empty_like(of.gate);
  }
  static Tensor formula(const Arguments& of) {
    of.check("gated");
    return formula_of({of.gate, of.up}, of.options);
  }

  static std::string title() { return "GatedBackward"; }
  static variable_list gradients(variable_list grads, const Arguments& of, const Needed<2>&) {
    const auto [gate, up] = call<GatedBackward>({grads[0], of});
    return {gate, up};
  }
};

// --- the halves of one tensor -------------------------------------------------------------------

struct HalvesArguments {
  Tensor input;
  int64_t dim;
  bool interleaved, gate_first;
  Options options;
  auto members() {
    return std::tuple_cat(std::tie(input, dim, interleaved, gate_first), options.members());
  }

  void check(const char* name) const {
    options.check(name);
    check_floating_point(name, "input", input);
    TORCH_CHECK(input.dim() > 0, name,
                "(): expected argument 'input' to have a dimension, but got ", input.sym_sizes());
    const c10::SymInt size = input.sym_size(dim);
    TORCH_CHECK(size % 2 == 0, name,
                "(): expected argument 'input' to have an even size in "
                "dimension ",
                dim, ", but got ", size);
  }
  // Views of `whole`, which has the input's shape.
  Halves of(const Tensor& whole) const {
    const int64_t at = at::maybe_wrap_dim(dim, whole.dim());
    const c10::SymInt half = whole.sym_size(at).guard_int(__FILE__, __LINE__) / 2;
    const auto part = [&](int which) {
      if (interleaved) return whole.slice_symint(at, which, std::nullopt, 2);
      return whole.slice_symint(at, half * which, half * (which + 1));
    };
    const Tensor first = part(0), second = part(1);
    return gate_first ? Halves{first, second} : Halves{second, first};
  }
};

struct GatedHalvesBackward {
  static constexpr const char* kSchema =
      "gated_halves_backward(Tensor grad_output, Tensor input, int dim, bool interleaved, "
      "bool gate_first, int kind, float alpha, float limit, float offset) -> Tensor";
  struct Arguments {
    Tensor grad_output;
    HalvesArguments of;
    auto members() { return std::tuple_cat(std::tie(grad_output), of.members()); }
  };

  static Halves check(const Arguments& arguments) {
    arguments.of.check("gated_halves_backward");
    const Halves halves = arguments.of.of(arguments.of.input);
    check_pair("gated_halves_backward", halves.gate, "grad_output", arguments.grad_output);
    return halves;
  }
  static Tensor kernel(const Arguments& arguments) {
    const auto& [grad_output, of] = arguments;
    const Halves halves = check(arguments);
    if (!has_kernels(of.input)) return formula(arguments);
    const Launchers& launchers = launch_on(of.input);
    const Tensor result = launchers.empty_gradient(of.input);
    const Halves gradients = of.of(result);
    launchers.gated_backward(of.options.for_kernels(), grad_output, halves.gate, halves.up,
                             gradients.gate, gradients.up);
    return result;
  }
  static Tensor shape(const Arguments& arguments) {
    check(arguments);
    return at::empty_like(arguments.of.input);
  }
  static Tensor formula(const Arguments& arguments) {
    const Halves halves = check(arguments);
    const auto& [grad_output, of] = arguments;
    const auto [gate, up] = gradients_formula(grad_output, halves, of.options);
    const Tensor& first = of.gate_first ? gate : up;
    const Tensor& second = of.gate_first ? up : gate;
    const int64_t dim = at::maybe_wrap_dim(of.dim, of.input.dim());
    if (!of.interleaved) return at::cat({first, second}, dim);
    return at::stack({first, second}, dim + 1).flatten(dim, dim + 1);
  }
};

struct GatedHalves {
  static constexpr const char* kSchema =
      "gated_halves(Tensor input, int dim, bool interleaved, bool gate_first, int kind, "
      "float alpha, float limit, float offset) -> Tensor";
  using Arguments = HalvesArguments;

  static Tensor kernel(const Arguments& of) {
    of.check("gated_halves");
    if (!has_kernels(of.input)) return formula(of);
    const Halves halves = of.of(of.input);
    return launch_on(of.input).gated(of.options.for_kernels(), halves.gate, halves.up);
  }
  static Tensor shape(const Arguments& of) {
    of.check("gated_halves");
    return at::empty_like(of.of(of.input).gate);
  }
  static Tensor formula(const Arguments& of) {
    of.check("gated_halves");
    return formula_of(of.of(of.input), of.options);
  }

  static std::string title() { return "GatedBackward"; }
  static variable_list gradients(variable_list grads, const Arguments& of, const Needed<1>&) {
    return {call<GatedHalvesBackward>({grads[0], of})};
  }
};

const Operators<GatedPair, GatedBackward, GatedHalves, GatedHalvesBackward> registered;

}  // namespace

Tensor gated_pair(const Tensor& gate, const Tensor& up, int64_t kind, double alpha, double limit,
                  double offset) {
  return call_directly<GatedPair>({gate, up, {kind, alpha, limit, offset}});
}
Tensor gated_halves(const Tensor& input, int64_t dim, bool interleaved, bool gate_first,
                    int64_t kind, double alpha, double limit, double offset) {
  return call_directly<GatedHalves>(
      {input, dim, interleaved, gate_first, {kind, alpha, limit, offset}});
}

}  // namespace activations_ext
