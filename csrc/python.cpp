// The Python entry points: `_C.<name>(input, inplace, *parameters)` for every activation.
//
// A plain tensor goes straight to the kernels, which is what makes small tensors as quick as
// torch's own; everything else goes through the operator and the dispatcher.
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/utils/pybind.h>

#include "autograd/pointwise.h"

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

template <class A>
void in_place(at::Tensor& input, const Parameters<A>& parameters) {
  if (!nothing_intercepts() || !is_plain(input) || torch::autograd::isFwGradDefined(input) ||
      view_with_history(input)) {
    input.copy_(Operator<A>::forward(input, parameters));
    return;
  }
  check_parameters(make<A>(parameters));
  differentiable_in_place<A>(input, parameters);
}

template <class A>
PyObject* entry(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  constexpr auto kCount = static_cast<Py_ssize_t>(2 + kArity<A>);
  TORCH_CHECK_TYPE(count == kCount, A::kName, "(): expected ", kCount, " arguments, but got ",
                   count);
  TORCH_CHECK_TYPE(THPVariable_Check(arguments[0]), A::kName,
                   "(): expected argument 'input' to be a Tensor, but got ",
                   Py_TYPE(arguments[0])->tp_name);
  Parameters<A> parameters;
  for (std::size_t i = 0; i < kArity<A>; ++i) {
    parameters[i] = PyFloat_AsDouble(arguments[2 + i]);
    if (parameters[i] == -1.0 && PyErr_Occurred()) {
      PyErr_Clear();
      TORCH_CHECK_TYPE(false, A::kName, "(): expected argument '", A::kParameters[i].name,
                       "' to be a number, but got ", Py_TYPE(arguments[2 + i])->tp_name);
    }
  }
  if (arguments[1] != Py_False) {
    at::Tensor input = THPVariable_Unpack(arguments[0]);
    {
      pybind11::gil_scoped_release no_gil;
      in_place<A>(input, parameters);
    }
    Py_INCREF(arguments[0]);
    return arguments[0];
  }
  at::Tensor result;
  {
    pybind11::gil_scoped_release no_gil;
    result = out_of_place<A>(THPVariable_Unpack(arguments[0]), parameters);
  }
  return THPVariable_Wrap(std::move(result));
  END_HANDLE_TH_ERRORS
}

void add_entries(pybind11::module_& module) {
  static std::vector<PyMethodDef> methods = [] {
    std::vector<PyMethodDef> all;
    Activations::for_each([&]<Activation A>() {
      all.push_back({A::kName, reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(&entry<A>)),
                     METH_FASTCALL, nullptr});
    });
    all.push_back({nullptr, nullptr, 0, nullptr});
    return all;
  }();
  if (PyModule_AddFunctions(module.ptr(), methods.data()) < 0)
    throw pybind11::error_already_set();
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  add_entries(module);
  module.def("set_kernels", [](const pybind11::capsule& kernels) {
    cpu::set_kernels(kernels.get_pointer<const cpu::KernelTable>());
  });
}

}  // namespace activations_ext
