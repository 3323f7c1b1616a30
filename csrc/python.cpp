// The Python entry points: `_C.<name>(input, inplace, *parameters)` for every activation.
//
// A plain tensor goes straight to the kernels, which is what makes small tensors as quick as
// torch's own; everything else goes through the operator and the dispatcher.
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/utils/pybind.h>

#include <string>
#include <vector>

#include "autograd/pointwise.h"
#include "cpu/large_blocks.h"
#include "prelu.h"
#include "random.h"

namespace activations_ext {
namespace {

template <class A>
at::Tensor out_of_place(const at::Tensor& input, const Parameters<A>& parameters) {
  if (!nothing_intercepts() || !is_plain(input) || torch::autograd::isFwGradDefined(input))
    return Operator<A>::forward(input, parameters);
  const A activation = make<A>(parameters);
  check_parameters(activation);
  const auto compute = [&](const at::Tensor& x) {
    return cpu::run(cpu::describe(activation, cpu::Pass::kForward), x, {});
  };
  return differentiable<A>(input, parameters, compute, [](const at::Tensor&) {});
}

// Autograd has to follow a write into a view to the tensor that it is a view of.
bool view_with_history(const at::Tensor& input) {
  return at::GradMode::is_enabled() && input.is_view() &&
         (input.requires_grad() || input._base().requires_grad());
}

// What the operator may save of a tensor that is about to be overwritten.
at::Tensor kept(const at::Tensor& input) {
  return torch::autograd::compute_requires_grad(input) ? input.clone() : input;
}

template <class A>
void in_place(at::Tensor& input, const Parameters<A>& parameters) {
  if (!nothing_intercepts() || !is_plain(input) || torch::autograd::isFwGradDefined(input) ||
      view_with_history(input) || !input.is_non_overlapping_and_dense()) {
    input.copy_(Operator<A>::forward(kept(input), parameters));
    return;
  }
  check_parameters(make<A>(parameters));
  differentiable_in_place<A>(input, parameters);
}

// --- reading the arguments ----------------------------------------------------------------------

void check_count(const char* name, Py_ssize_t expected, Py_ssize_t count) {
  TORCH_CHECK_TYPE(count == expected, name, "(): expected ", expected, " arguments, but got ",
                   count);
}

const at::Tensor& tensor_argument(const char* name, const char* argument, PyObject* object) {
  TORCH_CHECK_TYPE(THPVariable_Check(object), name, "(): expected argument '", argument,
                   "' to be a Tensor, but got ", Py_TYPE(object)->tp_name);
  return THPVariable_Unpack(object);
}

double number_argument(const char* name, const char* argument, PyObject* object) {
  const double number = PyFloat_AsDouble(object);
  if (number == -1.0 && PyErr_Occurred()) {
    PyErr_Clear();
    TORCH_CHECK_TYPE(false, name, "(): expected argument '", argument, "' to be a number, but got ",
                     Py_TYPE(object)->tp_name);
  }
  return number;
}

bool flag_argument(PyObject* object) {
  const int truth = PyObject_IsTrue(object);
  if (truth < 0) throw python_error();
  return truth == 1;
}

template <class Compute>
PyObject* without_gil(Compute compute) {
  at::Tensor result;
  {
    pybind11::gil_scoped_release no_gil;
    result = compute();
  }
  return THPVariable_Wrap(std::move(result));
}

// --- the entry points ---------------------------------------------------------------------------

template <class A>
PyObject* entry(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  check_count(A::kName, 2 + kArity<A>, count);
  const at::Tensor& input = tensor_argument(A::kName, "input", arguments[0]);
  Parameters<A> parameters;
  for (std::size_t i = 0; i < kArity<A>; ++i)
    parameters[i] = number_argument(A::kName, A::kParameters[i].name, arguments[2 + i]);
  if (!flag_argument(arguments[1]))
    return without_gil([&] { return out_of_place<A>(input, parameters); });
  return without_gil([&] {
    at::Tensor target = input;
    in_place<A>(target, parameters);
    return target;
  });
  END_HANDLE_TH_ERRORS
}

PyObject* prelu_entry(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  check_count("prelu", 3, count);
  const at::Tensor& input = tensor_argument("prelu", "input", arguments[0]);
  const at::Tensor& weight = tensor_argument("prelu", "weight", arguments[2]);
  return without_gil([&] { return activations_ext::prelu(input, weight); });
  END_HANDLE_TH_ERRORS
}

struct RandomOperator {
  const char* name;
  at::Tensor (*compute)(const at::Tensor&, const at::Tensor&, double, double);
  const char* parameters[2];
};

PyObject* random_entry(const RandomOperator& op, PyObject* const* arguments, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  check_count(op.name, 5, count);
  const at::Tensor& input = tensor_argument(op.name, "input", arguments[0]);
  const bool inplace = flag_argument(arguments[1]);
  const at::Tensor& seed = tensor_argument(op.name, "seed", arguments[2]);
  const double first = number_argument(op.name, op.parameters[0], arguments[3]);
  const double second = number_argument(op.name, op.parameters[1], arguments[4]);
  return without_gil([&] {
    if (!inplace) return op.compute(input, seed, first, second);
    return at::Tensor(input).copy_(op.compute(kept(input), seed, first, second));
  });
  END_HANDLE_TH_ERRORS
}

PyObject* rrelu_entry(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  return random_entry({"rrelu", &rrelu_with_seed, {"lower", "upper"}}, arguments, count);
}
PyObject* shift_dropout_entry(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  return random_entry({"shift_dropout", &shift_dropout_with_seed, {"p", "minimum"}}, arguments,
                      count);
}

// The instruction sets of setup.py's kernel modules whose every instruction this processor (and the
// system, which has to save their registers) runs.
std::vector<std::string> supported_capabilities() {
  std::vector<std::string> names = {"DEFAULT"};
#if defined(__x86_64__) || defined(_M_X64)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
      !__builtin_cpu_supports("f16c"))
    return names;
  names.push_back("AVX2");
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    names.push_back("AVX512");
#endif
  return names;
}

using Entry = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);

PyMethodDef method(const char* name, Entry function) {
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function)), METH_FASTCALL,
          nullptr};
}

void add_entries(pybind11::module_& module) {
  static std::vector<PyMethodDef> methods = [] {
    std::vector<PyMethodDef> all;
    Activations::for_each([&]<Activation A>() { all.push_back(method(A::kName, &entry<A>)); });
    all.push_back(method("prelu", &prelu_entry));
    all.push_back(method("rrelu_with_seed", &rrelu_entry));
    all.push_back(method("shift_dropout_with_seed", &shift_dropout_entry));
    all.push_back({nullptr, nullptr, 0, nullptr});
    return all;
  }();
  if (PyModule_AddFunctions(module.ptr(), methods.data()) < 0) throw pybind11::error_already_set();
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  add_entries(module);
  module.def("set_kernels", [](const pybind11::capsule& kernels) {
    cpu::set_kernels(kernels.get_pointer<const cpu::KernelTable>());
  });
  module.def("supported_capabilities", &supported_capabilities);
  module.def("empty_cache", &cpu::empty_cache);
}

}  // namespace activations_ext
