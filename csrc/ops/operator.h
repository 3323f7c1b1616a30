// Registers an operator for every dispatch key, from a struct that says what it computes:
//
//   struct MixtureNLL {
//     static constexpr const char* kSchema = "mixture_nll(Tensor logits, …) -> Tensor";
//     struct Arguments {…};                     // in the schema's order, with members(); members.h
//     static Tensor kernel(const Arguments&);   // the devices
//     static Tensor shape(const Arguments&);    // Meta
//     static Tensor formula(const Arguments&);  // on torch's operators, where there is no kernel
//   };
//
// It may also define
//
//   static constexpr Autocast kAutocast = …;
//   static Result elsewhere(const Arguments&);  // other devices and layouts (default: formula)
//   static Result batched(const Arguments&);    // torch.func's vmap (default: formula)
//
// and its derivatives, which are otherwise those of the formula:
//
//   static std::string title();                 // the graph node's name
//   static variable_list gradients(variable_list grads, const Saved&, const Needed<…>&);
//                                               // for all tensor arguments, or
//   static constexpr std::size_t kInputs = …;   // for the first kInputs of them
//   struct Saved {…};                           // what backward reads (default: Arguments)
//   static Saved save(const Arguments&, const Result&);
//   static variable_list differentiable(const Result&);  // the outputs that have a gradient
//   static bool by_formula(const Arguments&);  // where `gradients` does not cover all inputs
//   static Tensor tangent(const Arguments&, const Result&);  // forward mode (default: formula)
#pragma once

#include <ATen/autocast_mode.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/library.h>

#include <string>
#include <string_view>
#include <tuple>

#include "../autograd/node.h"
#include "../autograd/plain.h"
#include "find_operator.h"

namespace activations_ext {

// What torch's autocast does with the tensors of the operator.
enum class Autocast {
  kFloatOnCuda,  // computed in float32 there
  kLower,        // cast to its lower precision, on the CPU as well
};

// The operator, through the dispatcher.
template <class Op>
auto call(const typename Op::Arguments& of);

namespace detail {

template <class Op>
std::string name_of() {
  constexpr std::string_view schema = Op::kSchema;
  return std::string(schema.substr(0, schema.find('(')));
}

// The type in which the dispatcher passes an argument.
template <class Member>
using Passed = std::conditional_t<kIsTensor<Member>, const std::remove_reference_t<Member>&,
                                  std::remove_reference_t<Member>>;

template <class Struct>
bool any_wants_gradient(const Struct& of) {
  bool any = false;
  for_each_tensor(of, [&](const auto& tensor) {
    any |= torch::autograd::compute_requires_grad(as_tensor(tensor));
  });
  return any;
}
template <class Struct>
bool any_has_tangent(const Struct& of) {
  bool any = false;
  for_each_tensor(
      of, [&](const auto& tensor) { any |= torch::autograd::isFwGradDefined(as_tensor(tensor)); });
  return any;
}

template <class Op>
struct SavedOf {
  using type = typename Op::Arguments;
};
template <class Op>
  requires requires { typename Op::Saved; }
struct SavedOf<Op> {
  using type = typename Op::Saved;
};

// The node of an operator that has gradients.
template <class Op>
struct RuleOf {
  using Saved = typename SavedOf<Op>::type;
  static constexpr std::size_t kInputs = [] {
    if constexpr (requires { Op::kInputs; })
      return Op::kInputs;
    else
      return count_tensors<typename Op::Arguments>();
  }();
  static std::string title() { return Op::title(); }
  static variable_list gradients(variable_list grads, const Saved& of,
                                 const Needed<kInputs>& needed) {
    return Op::gradients(std::move(grads), of, needed);
  }
};

template <class Op, class Tied = Members<typename Op::Arguments>>
struct Entries;

template <class Op, class... Member>
struct Entries<Op, std::tuple<Member...>> {
  using Arguments = typename Op::Arguments;
  using Result = decltype(Op::kernel(std::declval<const Arguments&>()));
  static constexpr bool kHasGradients = requires { &Op::gradients; };

  static Result call(Passed<Member>... a) {
    static const auto op = find_operator<Result(Passed<Member>...)>(name_of<Op>());
    return op.call(a...);
  }
  // Straight to the kernel if nothing intercepts the call.
  static Result call_directly(const Arguments& of) {
    static_assert(!requires { &Op::by_formula; }, "the dispatcher's entry asks for it");
    bool direct = nothing_intercepts() && !any_has_tangent(of);
    for_each_tensor(of, [&](const auto& tensor) { direct &= is_plain(as_tensor(tensor)); });
    if constexpr (!kHasGradients) direct = direct && !any_wants_gradient(of);
    if (!direct) return activations_ext::call<Op>(of);
    const auto compute = [&] {
      at::AutoDispatchBelowADInplaceOrView below;
      return Op::kernel(of);
    };
    if constexpr (kHasGradients) {
      if (any_wants_gradient(of)) return through_graph(of, compute, [](const Result&) {});
    }
    return compute();
  }
  static Result kernel(Passed<Member>... a) { return Op::kernel(Arguments{a...}); }
  static Result meta(Passed<Member>... a) { return Op::shape(Arguments{a...}); }
  static Result elsewhere(Passed<Member>... a) {
    if constexpr (requires { &Op::elsewhere; })
      return Op::elsewhere(Arguments{a...});
    else
      return Op::formula(Arguments{a...});
  }
  static Result batched(Passed<Member>... a) {
    if constexpr (requires { &Op::batched; })
      return Op::batched(Arguments{a...});
    else
      return Op::formula(Arguments{a...});
  }
  template <c10::DispatchKey kKey, c10::DeviceType kDevice>
  static Result autocast(Passed<Member>... a) {
    c10::impl::ExcludeDispatchKeyGuard below(kKey);
    const auto dtype =
        Op::kAutocast == Autocast::kLower ? at::autocast::get_autocast_dtype(kDevice) : at::kFloat;
    const auto cast = [&]<class Value>(const Value& value) {
      if constexpr (std::is_same_v<Value, at::Tensor>)
        return at::autocast::cached_cast(dtype, value, kDevice);
      else
        return value;
    };
    return call(cast(a)...);
  }

  static Result autograd(Passed<Member>... a) {
    constexpr bool kHasTangent = requires { &Op::tangent; };
    const Arguments of{a...};
    const bool wants_gradient = any_wants_gradient(of), has_tangent = any_has_tangent(of);
    bool by_formula = (has_tangent && !kHasTangent) || (wants_gradient && !kHasGradients);
    if constexpr (requires { &Op::by_formula; }) by_formula |= Op::by_formula(of);
    if constexpr (requires { &Op::formula; }) {
      if (by_formula) return Op::formula(of);
    }
    const auto compute = [&] {
      at::AutoDispatchBelowADInplaceOrView below;
      return call(a...);
    };
    const auto finish = [&](const Result& result) {
      if constexpr (kHasTangent) {
        if (has_tangent)
          result._set_fw_grad(Op::tangent(of, result), /*level=*/0, /*is_inplace_op=*/false);
      }
    };
    if constexpr (kHasGradients) {
      if (wants_gradient) return through_graph(of, compute, finish);
    }
    const Result result = compute();
    finish(result);
    return result;
  }

  // A saved result carries its tangent.
  template <class Compute, class Finish>
  static Result through_graph(const Arguments& of, Compute compute, Finish finish) {
    variable_list inputs;
    for_each_tensor(of, [&](const auto& tensor) { inputs.push_back(as_tensor(tensor)); });
    inputs.resize(RuleOf<Op>::kInputs);
    auto node = make_node<GraphNode<RuleOf<Op>>>();
    node->set_next_edges(torch::autograd::collect_next_edges(inputs));
    const Result result = compute();
    const variable_list results = [&]() -> variable_list {
      if constexpr (requires { &Op::differentiable; })
        return Op::differentiable(result);
      else
        return {result};
    }();
    for (const at::Tensor& one : results) torch::autograd::set_history(one, node);
    finish(result);
    if constexpr (requires { &Op::save; })
      node->remember(Op::save(of, result), results);
    else
      node->remember(of, results);
    return result;
  }
};

}  // namespace detail

template <class Op>
auto call(const typename Op::Arguments& of) {
  return std::apply([](const auto&... member) { return detail::Entries<Op>::call(member...); },
                    const_cast<typename Op::Arguments&>(of).members());
}

// The same without the dispatcher, where nothing intercepts the call: half a microsecond less.
template <class Op>
auto call_directly(const typename Op::Arguments& of) {
  return detail::Entries<Op>::call_directly(of);
}

// Registers the operators for its lifetime.
template <class... Op>
class Operators {
 public:
  Operators() {
    (define<Op>(), ...);
    (name<Op>(), ...);
  }

 private:
  template <class One>
  void define() {
    using Entries = detail::Entries<One>;
    const std::string name = detail::name_of<One>();
    library_.def(torch::schema(One::kSchema), {at::Tag::pt2_compliant_tag});
    const auto implement = [&](c10::DispatchKey key, auto* entry) {
      library_.impl(name.c_str(), torch::dispatch(key, entry));
    };
    implement(c10::DispatchKey::CPU, &Entries::kernel);
    implement(c10::DispatchKey::CUDA, &Entries::kernel);
    implement(c10::DispatchKey::Meta, &Entries::meta);
    implement(c10::DispatchKey::CompositeExplicitAutograd, &Entries::elsewhere);
    implement(c10::DispatchKey::Autograd, &Entries::autograd);
    implement(c10::DispatchKey::FuncTorchBatched, &Entries::batched);
    if constexpr (requires { One::kAutocast; }) {
      implement(c10::DispatchKey::AutocastCUDA,
                &Entries::template autocast<c10::DispatchKey::AutocastCUDA, at::kCUDA>);
      if constexpr (One::kAutocast == Autocast::kLower)
        implement(c10::DispatchKey::AutocastCPU,
                  &Entries::template autocast<c10::DispatchKey::AutocastCPU, at::kCPU>);
    }
  }
  template <class One>
  void name() {
    if constexpr (detail::Entries<One>::kHasGradients) name_nodes<detail::RuleOf<One>>();
  }

  torch::Library library_{torch::Library::FRAGMENT, "activations_ext", std::nullopt, __FILE__,
                          __LINE__};
};

}  // namespace activations_ext
