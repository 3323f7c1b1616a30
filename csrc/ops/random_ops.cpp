// The operators that draw a number for each element, from a seed. The seed is a tensor, so that
// torch's generator makes it inside of a graph too.
#include "random_ops.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <mutex>
#include <tuple>
#include <vector>

#include "../activations/rrelu.h"
#include "../activations/shift_dropout.h"
#include "../autograd/batching.h"
#include "../autograd/in_place.h"
#include "../contract/registry.h"
#include "../device/checks.h"
#include "../device/launchers.h"
#include "../device/layout.h"
#include "../kinds/parameters.h"
#include "operator.h"

namespace activations_ext {
namespace {

using at::Tensor;

struct RandomArguments {
  Tensor input, seed;
  double first, second;  // the activation's parameters
  auto members() { return std::tie(input, seed, first, second); }
};

template <class A>
A checked(const RandomArguments& of) {
  check_floating_point(A::kName, "input", of.input);
  check_seed(A::kName, of.seed);
  check_same_device(A::kName, "seed", of.seed, "input", of.input);
  return make<A>({of.first, of.second}, of.input.scalar_type());
}

template <class A>
Tensor run(const A& activation, const Tensor& a, const RandomArguments& gate) {
  return launch_on(a).random(RandomActivations::index_of<A>(), &activation, a, gate.input,
                             gate.seed);
}

// One example after another: each gets the numbers that it would get alone.
template <class Compute, class... Tensors>
Tensor one_by_one(Compute compute, const Tensors&... tensors) {
  c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::FuncTorchBatched);
  const int64_t level = std::max({vmap_level(tensors)...});
  if (level == 0) return compute(tensors...);
  const Unbatched all[] = {Unbatched(tensors, level)...};
  int64_t size = 0;
  for (const Unbatched& tensor : all) {
    if (tensor.has_batch) size = tensor.value.size(0);
  }
  if (size == 0) {  // the shape of an example's result is that of the first tensor
    const Tensor& first = all[0].value;
    std::vector<int64_t> shape(first.sizes().begin() + all[0].has_batch, first.sizes().end());
    shape.insert(shape.begin(), 0);
    return at::functorch::makeBatched(first.new_empty(shape), 0, level);
  }
  std::vector<Tensor> results;
  for (int64_t example = 0; example < size; ++example) {
    const auto pick = [&](const Unbatched& tensor) {
      return tensor.has_batch ? tensor.value.select(0, example) : tensor.value;
    };
    results.push_back(std::apply([&](const auto&... tensor) { return compute(pick(tensor)...); },
                                 std::to_array(all)));
  }
  return at::functorch::makeBatched(at::stack(results), 0, level);
}

// --- the operators ------------------------------------------------------------------------------

// Both maps are linear in what they are given, once the seed and the gate are fixed: the derivative
// of a gradient is the same map again.

struct RReLUBackward {
  static constexpr const char* kSchema =
      "rrelu_with_seed_backward(Tensor grad_output, Tensor saved, Tensor seed, float lower, "
      "float upper) -> Tensor";
  struct Arguments {
    Tensor grad_output;
    RandomArguments saved;
    auto members() { return std::tuple_cat(std::tie(grad_output), saved.members()); }
  };

  static Tensor kernel(const Arguments& of) {
    const RReLU activation = checked<RReLU>(of.saved);
    check_same("rrelu", of.grad_output, of.saved.input);
    return run(activation, of.grad_output, of.saved);
  }
  static Tensor shape(const Arguments& of) {
    checked<RReLU>(of.saved);
    check_same("rrelu", of.grad_output, of.saved.input);
    return at::empty_like(layout_of(of.grad_output, of.saved.input));
  }
  static Tensor elsewhere(const Arguments& of) {
    fail_no_kernel("rrelu", "grad_output", of.grad_output);
  }
  static Tensor batched(const Arguments& of) {
    const auto& [grad_output, saved] = of;
    return one_by_one(
        [&](const Tensor& g, const Tensor& x, const Tensor& seed) {
          return call<RReLUBackward>({g, {x, seed, of.saved.first, of.saved.second}});
        },
        grad_output, saved.input, saved.seed);
  }

  static constexpr std::size_t kInputs = 2;  // but the seed
  static std::string title() { return "RreluBackwardBackward"; }
  static variable_list gradients(variable_list grads, const Arguments& of,
                                 const Needed<2>& needed) {
    variable_list result(2);
    if (needed[0]) result[0] = call<RReLUBackward>({grads[0], of.saved});
    if (needed[1]) result[1] = at::zeros_like(grads[0]);
    return result;
  }
  static Tensor tangent(const Arguments& of, const Tensor& result) {
    if (!torch::autograd::isFwGradDefined(of.grad_output)) return at::zeros_like(result);
    RandomArguments saved = of.saved;
    saved.input = primal_of(saved.input);
    return call<RReLUBackward>({tangent_of(of.grad_output), saved});
  }
};

// What the maps themselves have in common.
template <class Op, class A>
struct DrawsNumbers {
  using Arguments = RandomArguments;

  static Tensor kernel(const Arguments& of) { return run(checked<A>(of), of.input, of); }
  static Tensor shape(const Arguments& of) {
    checked<A>(of);
    return at::empty_like(of.input);
  }
  static Tensor elsewhere(const Arguments& of) { fail_no_kernel(A::kName, "input", of.input); }
  static Tensor batched(const Arguments& of) {
    return one_by_one([&](const Tensor& x,
                          const Tensor& seed) { return call<Op>({x, seed, of.first, of.second}); },
                      of.input, of.seed);
  }
};

struct RReLUForward : DrawsNumbers<RReLUForward, RReLU> {
  static constexpr const char* kSchema =
      "rrelu_with_seed(Tensor input, Tensor seed, float lower, float upper) -> Tensor";

  // The result, where it tells the slope, may be saved in the place of the input.
  static bool needs_input(const Arguments& of) {
    return !RReLU{of.first, of.second}.result_tells_slope();
  }
  static Tensor derivative(const Tensor& direction, const Arguments& saved) {
    return call<RReLUBackward>({direction, saved});
  }

  static constexpr std::size_t kInputs = 1;
  static std::string title() { return "RreluBackward"; }
  static variable_list gradients(variable_list grads, const Arguments& of, const Needed<1>&) {
    return {derivative(grads[0], of)};
  }
  static Tensor tangent(const Arguments& of, const Tensor&) {
    return derivative(tangent_of(of.input), {primal_of(of.input), of.seed, of.first, of.second});
  }
};

struct ShiftDropoutForward : DrawsNumbers<ShiftDropoutForward, ShiftDropout> {
  static constexpr const char* kSchema =
      "shift_dropout_with_seed(Tensor input, Tensor seed, float p, float minimum) -> Tensor";

  struct Saved {
    Tensor seed;
    double p;
    auto members() { return std::tie(seed, p); }
  };
  static Saved save(const Arguments& of, const Tensor&) { return {of.seed, of.first}; }
  static bool needs_input(const Arguments&) { return false; }
  static Tensor derivative(const Tensor& direction, const Saved& saved) {
    return call<ShiftDropoutForward>({direction, saved.seed, saved.p, /*minimum=*/0.0});
  }

  static constexpr std::size_t kInputs = 1;
  static std::string title() { return "ShiftDropoutBackward"; }
  static variable_list gradients(variable_list grads, const Saved& of, const Needed<1>&) {
    return {derivative(grads[0], of)};
  }
  static Tensor tangent(const Arguments& of, const Tensor& result) {
    return derivative(tangent_of(of.input), save(of, result));
  }
};

const Operators<RReLUForward, RReLUBackward, ShiftDropoutForward> registered;

// --- in place -----------------------------------------------------------------------------------

template <class Op>
Tensor& call_in_place(Tensor& input, const Tensor& seed, double first, double second) {
  static const auto op = find_operator<decltype(call_in_place<Op>)>(detail::name_of<Op>() + "_");
  return op.call(input, seed, first, second);
}

template <class Op>
struct InPlace {
  static Tensor& kernel(Tensor& input, const Tensor& seed, double first, double second) {
    return input.copy_(Op::kernel({input, seed, first, second}));
  }
  static Tensor& meta(Tensor& input, const Tensor& seed, double first, double second) {
    Op::shape({input, seed, first, second});
    return input;
  }
  static Tensor& elsewhere(Tensor& input, const Tensor& seed, double first, double second) {
    Op::elsewhere({input, seed, first, second});
    return input;
  }

  static Tensor& autograd(Tensor& input, const Tensor& seed, double first, double second) {
    const bool needs_input = Op::needs_input({input, seed, first, second});
    const auto saved = [&](const Tensor& from) {
      const RandomArguments of = {from, seed, first, second};
      if constexpr (requires { &Op::save; })
        return Op::save(of, input);
      else
        return of;
    };
    const auto make = [&] {
      auto node = make_node<GraphNode<detail::RuleOf<Op>>>();
      node->set_next_edges(torch::autograd::collect_next_edges(input));
      return node;
    };
    const auto compute = [&](Tensor& x) {
      at::AutoDispatchBelowAutograd below;
      call_in_place<Op>(x, seed, first, second);
    };
    const auto save = [&](auto& node, const Tensor& original) {
      node.remember(saved(needs_input ? original : input), input);
    };
    const auto tangent = [&](const Tensor& of, const Tensor& from) {
      return Op::derivative(of, saved(from));
    };
    return differentiable_in_place(input, needs_input, make, compute, save, tangent);
  }
  static Tensor& versioned(Tensor& input, const Tensor& seed, double first, double second) {
    return count_version(input, [&](Tensor& x) { call_in_place<Op>(x, seed, first, second); });
  }
  static Tensor& functional(Tensor& input, const Tensor& seed, double first, double second) {
    return functionalized(input, [&](const Tensor& x) {
      namespace impl = at::functionalization::impl;
      const Tensor s = impl::isFunctionalTensor(seed) ? impl::from_functional_tensor(seed) : seed;
      return call<Op>({x, s, first, second});
    });
  }
  // The seed may be batched where the input is not, which has no place for the results.
  static Tensor& batched(Tensor& input, const Tensor& seed, double first, double second) {
    TORCH_CHECK(vmap_level(input) >= vmap_level(seed),
                "vmap: an in-place dropout of a tensor that is not batched would have to write "
                "several results into it");
    return input.copy_(call<Op>({input, seed, first, second}));
  }

  static void implement(torch::Library& library) {
    using c10::DispatchKey;
    using Entry = Tensor& (*)(Tensor&, const Tensor&, double, double);
    const std::string name = detail::name_of<Op>() + "_";
    const std::pair<DispatchKey, Entry> entries[] = {
        {DispatchKey::CPU, &kernel},
        {DispatchKey::CUDA, &kernel},
        {DispatchKey::Meta, &meta},
        {DispatchKey::CompositeExplicitAutograd, &elsewhere},
        {DispatchKey::Autograd, &autograd},
        {DispatchKey::ADInplaceOrView, &versioned},
        {DispatchKey::Functionalize, &functional},
        {DispatchKey::FuncTorchBatched, &batched},
    };
    for (const auto& [key, entry] : entries)
      library.impl(name.c_str(), torch::dispatch(key, entry));
  }
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(activations_ext, library) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  library.def(
      "rrelu_with_seed_(Tensor(a!) input, Tensor seed, float lower, float upper) -> Tensor(a!)",
      tags);
  library.def(
      "shift_dropout_with_seed_(Tensor(a!) input, Tensor seed, float p, float minimum) -> "
      "Tensor(a!)",
      tags);
  InPlace<RReLUForward>::implement(library);
  InPlace<ShiftDropoutForward>::implement(library);
}

Tensor rrelu_with_seed(const Tensor& input, const Tensor& seed, double lower, double upper) {
  return call<RReLUForward>({input, seed, lower, upper});
}
Tensor& rrelu_with_seed_(Tensor& input, const Tensor& seed, double lower, double upper) {
  return call_in_place<RReLUForward>(input, seed, lower, upper);
}
Tensor shift_dropout_with_seed(const Tensor& input, const Tensor& seed, double p, double minimum) {
  return call<ShiftDropoutForward>({input, seed, p, minimum});
}
Tensor& shift_dropout_with_seed_(Tensor& input, const Tensor& seed, double p, double minimum) {
  return call_in_place<ShiftDropoutForward>(input, seed, p, minimum);
}

Tensor drawn_seed() {
  if (!nothing_intercepts()) return {};
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const std::scoped_lock lock(generator.mutex());
  const uint64_t drawn = at::check_generator<at::CPUGeneratorImpl>(generator)->random64();
  constexpr uint64_t kRange = ~uint64_t(0), kLeast = uint64_t(1) << 63;  // of randint's numbers
  return at::scalar_tensor(int64_t(drawn % kRange + kLeast), at::kLong);
}

}  // namespace activations_ext
