// The Python entry points: `_C.<name>(input, inplace, *parameters)` for every activation. They
// return NotImplemented where torch's own function should run.
//
// A plain tensor goes straight to the kernels, which makes small tensors as fast as torch's own.
// Everything else goes through the operator and the dispatcher.
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/python_cpp_function.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/utils/pybind.h>
#include <torch/csrc/utils/python_symnode.h>
#include <torch/csrc/utils/tensor_numpy.h>
#include <torch/version.h>

#include <string>
#include <vector>

#include "activations/serlu.h"
#include "aten/replace.h"
#include "autograd/formula.h"
#include "autograd/node.h"
#include "autograd/plain.h"
#include "cpu/cpu_launchers.h"
#include "cpu/large_blocks.h"
#include "device/checks.h"
#include "device/layout.h"
#include "kinds/kind.h"
#include "ops/cross_entropy.h"
#include "ops/divergence_ops.h"
#include "ops/gated_ops.h"
#include "ops/mixture_formula.h"
#include "ops/pointwise.h"
#include "ops/prelu_ops.h"
#include "ops/random_ops.h"
#include "ops/softmax_ops.h"
#include "ops/statistics_ops.h"

namespace activations_ext {
namespace {

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

// Reads a number as torch does: not from every object with __float__, and not from a tensor that
// requires a gradient, which would be lost.
double number_argument(const char* name, const char* argument, PyObject* object) {
  if (PyFloat_Check(object)) return PyFloat_AS_DOUBLE(object);
  if (PyLong_Check(object)) {
    const int64_t whole = PyLong_AsLongLong(object);
    if (whole == -1 && PyErr_Occurred()) throw python_error();  // OverflowError
    return double(whole);
  }
  if (THPVariable_Check(object)) {
    const at::Tensor& tensor = THPVariable_Unpack(object);
    TORCH_CHECK_TYPE(tensor.dim() == 0 && !tensor.requires_grad(), name, "(): expected argument '",
                     argument, "' to be a number, but got a Tensor of shape ", tensor.sizes(),
                     tensor.requires_grad() ? " that requires a gradient" : "");
    return tensor.item().toDouble();
  }
  // A number that an exporter traces, made of a shape.
  if (torch::is_symfloat(object))
    return pybind11::cast<c10::SymFloat>(pybind11::handle(object)).guard_float(__FILE__, __LINE__);
  if (torch::is_symint(object))
    return double(
        pybind11::cast<c10::SymInt>(pybind11::handle(object)).guard_int(__FILE__, __LINE__));
  TORCH_CHECK_TYPE(torch::utils::is_numpy_scalar(object), name, "(): expected argument '", argument,
                   "' to be a number, but got ", Py_TYPE(object)->tp_name);
  const double number = PyFloat_AsDouble(object);
  if (number == -1.0 && PyErr_Occurred()) throw python_error();
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

PyObject* pointwise_entry(const Kind& kind, PyObject* const* arguments, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  check_count(kind.name, 2 + kind.arity(), count);
  const at::Tensor& input = tensor_argument(kind.name, "input", arguments[0]);
  if (!has_kernel(input)) Py_RETURN_NOTIMPLEMENTED;
  Values values = {};
  for (std::size_t i = 0; i < kind.arity(); ++i)
    values[i] = number_argument(kind.name, kind.parameters[i].name, arguments[2 + i]);
  if (!flag_argument(arguments[1]))
    return without_gil([&] { return pointwise(kind, input, values); });
  return without_gil([&] {
    at::Tensor target = input;
    pointwise_(kind, target, values);
    return target;
  });
  END_HANDLE_TH_ERRORS
}

template <class A>
PyObject* entry(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  return pointwise_entry(kind_of<A>(), arguments, count);
}

PyObject* prelu_entry(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  check_count("prelu", 3, count);
  const at::Tensor& input = tensor_argument("prelu", "input", arguments[0]);
  const at::Tensor& weight = tensor_argument("prelu", "weight", arguments[2]);
  if (!has_kernel(input) || !has_kernel(weight)) Py_RETURN_NOTIMPLEMENTED;
  return without_gil([&] { return activations_ext::prelu(input, weight); });
  END_HANDLE_TH_ERRORS
}

struct RandomOperator {
  const char* name;
  at::Tensor (*compute)(const at::Tensor&, const at::Tensor&, double, double);
  at::Tensor& (*in_place)(at::Tensor&, const at::Tensor&, double, double);
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
    at::Tensor target = input;
    return op.in_place(target, seed, first, second);
  });
  END_HANDLE_TH_ERRORS
}

PyObject* rrelu_entry(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  return random_entry({"rrelu", &rrelu_with_seed, &rrelu_with_seed_, {"lower", "upper"}}, arguments,
                      count);
}
PyObject* shift_dropout_entry(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  return random_entry(
      {"shift_dropout", &shift_dropout_with_seed, &shift_dropout_with_seed_, {"p", "minimum"}},
      arguments, count);
}

PyObject* softmax_entry(const char* name, at::Tensor (*compute)(const at::Tensor&, int64_t),
                        PyObject* const* arguments, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  check_count(name, 3, count);
  const at::Tensor& input = tensor_argument(name, "input", arguments[0]);
  if (!has_kernel(input)) Py_RETURN_NOTIMPLEMENTED;
  const int64_t dim = PyLong_AsLongLong(arguments[2]);
  if (dim == -1 && PyErr_Occurred()) throw python_error();
  return without_gil([&] { return compute(input, dim); });
  END_HANDLE_TH_ERRORS
}
PyObject* softmax_of(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  return softmax_entry("softmax", &softmax, arguments, count);
}
PyObject* log_softmax_of(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  return softmax_entry("log_softmax", &log_softmax, arguments, count);
}

// cross_entropy(input, target, ignore_index, reduction); None where it is for the operators.
PyObject* cross_entropy_entry(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  check_count("cross_entropy", 4, count);
  if (!THPVariable_Check(arguments[0]) || !THPVariable_Check(arguments[1])) Py_RETURN_NONE;
  const at::Tensor& logits = THPVariable_Unpack(arguments[0]);
  const at::Tensor& target = THPVariable_Unpack(arguments[1]);
  if (!PyLong_Check(arguments[2]) || !PyUnicode_Check(arguments[3])) Py_RETURN_NONE;
  const int64_t ignore_index = PyLong_AsLongLong(arguments[2]);
  if (ignore_index == -1 && PyErr_Occurred()) throw python_error();
  using at::Reduction::Reduction;
  for (const auto [name, reduction] :
       {std::pair{"none", Reduction::None}, {"mean", Reduction::Mean}, {"sum", Reduction::Sum}}) {
    if (PyUnicode_CompareWithASCIIString(arguments[3], name) != 0) continue;
    at::Tensor loss;
    {
      pybind11::gil_scoped_release no_gil;
      loss = cross_entropy(logits, target, ignore_index, reduction);
    }
    if (loss.defined()) return THPVariable_Wrap(std::move(loss));
  }
  Py_RETURN_NONE;
  END_HANDLE_TH_ERRORS
}

// What the entry point above leaves to the functions: weights, smoothing, probabilities.
at::Tensor cross_entropy_by_python(const at::Tensor& logits, const at::Tensor& target,
                                   const std::optional<at::Tensor>& weight, int64_t reduction,
                                   int64_t ignore_index, double label_smoothing) {
  namespace py = pybind11;
  const py::gil_scoped_acquire gil;
  const char* const names[] = {"none", "mean", "sum"};
  try {
    const py::object function =
        py::module_::import("activations_ext.functional").attr("cross_entropy");
    const py::object result =
        function(logits, target, weight.has_value() ? py::cast(*weight) : py::none(), py::none(),
                 ignore_index, py::none(), names[reduction], label_smoothing);
    return result.cast<at::Tensor>();
  } catch (py::error_already_set& error) {
    error.restore();
    python_error of_torch;
    of_torch.persist();
    throw of_torch;
  }
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

// Python types for the graph nodes, which would all be called CppFunction otherwise.
void add_node_types() {
  struct NoConstructor {
    torch::autograd::Node* operator()(PyObject*) const {
      TORCH_CHECK_TYPE(false, "a node of the graph cannot be made in Python");
    }
  };
  for (const auto& [type, name] : node_names()) {
    auto* python_type = new PyTypeObject();  // for as long as the process
    torch::autograd::createForwardFunctionPyTypeObject<NoConstructor>(*python_type, name.c_str());
    torch::autograd::registerCppFunction(*type, python_type);
  }
}

using Entry = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);

PyMethodDef method(const char* name, Entry function) {
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function)), METH_FASTCALL,
          nullptr};
}

void add_entries(pybind11::module_& module) {
  static std::vector<PyMethodDef> methods = [] {
    std::vector<PyMethodDef> all;
    Activations::for_each([&]<class A>() { all.push_back(method(kind_of<A>().name, &entry<A>)); });
    all.push_back(method("prelu", &prelu_entry));
    all.push_back(method("rrelu_with_seed", &rrelu_entry));
    all.push_back(method("shift_dropout_with_seed", &shift_dropout_entry));
    all.push_back(method("softmax", &softmax_of));
    all.push_back(method("log_softmax", &log_softmax_of));
    all.push_back(method("cross_entropy", &cross_entropy_entry));
    all.push_back({nullptr, nullptr, 0, nullptr});
    return all;
  }();
  if (PyModule_AddFunctions(module.ptr(), methods.data()) < 0) throw pybind11::error_already_set();
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  add_entries(module);
  add_node_types();
  module.attr("built_for") = TORCH_VERSION;
  module.def("set_kernels", [](const pybind11::capsule& kernels) {
    TORCH_CHECK_TYPE(PyCapsule_IsValid(kernels.ptr(), cpu::kKernelTableCapsule),
                     "set_kernels(): expected a capsule called ", cpu::kKernelTableCapsule,
                     ", but got ",
                     kernels.name() == nullptr ? "one without a name" : kernels.name());
    cpu::set_kernels(kernels.get_pointer<const cpu::KernelTable>());
  });
  // The logits, which are rows of classes along dimension 1, become their gradient. No Autograd and
  // no version counter: only for memory that is not shared.
  module.def(
      "overwrite_with_gradient",
      [](const at::Tensor& logits, const MaybeTensor& target, const MaybeTensor& weight,
         const MaybeTensor& class_weight, double smoothing, int64_t ignore_index, double softcap,
         double logit_scale, const at::Tensor& maximum, const at::Tensor& log_sum,
         const MaybeTensor& grad_log_sum, const MaybeTensor& grad_target_logit,
         const MaybeTensor& grad_weighted_sum) {
        pybind11::gil_scoped_release no_gil;
        at::AutoDispatchBelowADInplaceOrView below;
        const RowArguments rows = {logits,       1,         target,       weight,
                                   class_weight, smoothing, ignore_index, {softcap, logit_scale}};
        row_statistics_backward(
            {grad_log_sum, grad_target_logit, grad_weighted_sum, {}, rows, maximum, log_sum, {}},
            /*overwrite=*/true);
      });
  module.def("gated_pair", &gated_pair, pybind11::call_guard<pybind11::gil_scoped_release>());
  module.def("gated_halves", &gated_halves, pybind11::call_guard<pybind11::gil_scoped_release>());
  module.def("row_divergence_by_formula", &divergence_formula);
  module.def(
      "divergence_gradient",
      [](const at::Tensor& grad, const at::Tensor& logits, const at::Tensor& teacher, int64_t dim,
         int64_t kind, double beta, double logit_scale, const at::Tensor& statistics) {
        pybind11::gil_scoped_release no_gil;
        at::AutoDispatchBelowADInplaceOrView below;
        return divergence_gradient(grad, logits, teacher, dim, kind, beta, logit_scale, statistics);
      });
  pybind11::enum_<Pass>(module, "Pass")
      .value("kForward", Pass::kForward)
      .value("kBackward", Pass::kBackward)
      .value("kCurvature", Pass::kCurvature)
      .value("kBackwardOfResult", Pass::kBackwardOfResult)
      .value("kCurvatureOfResult", Pass::kCurvatureOfResult);
  module.def("formula", &formula);
  module.def(
      "row_statistics_by_formula",
      [](const at::Tensor& logits, int64_t dim, const MaybeTensor& target,
         const MaybeTensor& weight, const MaybeTensor& class_weight, double smoothing,
         int64_t ignore_index, double softcap, double logit_scale, bool expected, bool argmax) {
        return statistics_formula({logits,
                                   dim,
                                   target,
                                   weight,
                                   class_weight,
                                   smoothing,
                                   ignore_index,
                                   {softcap, logit_scale}},
                                  {expected, argmax});
      });
  module.def("mixture_nll_by_formula",
             [](const at::Tensor& logits, const at::Tensor& mean, const at::Tensor& scale,
                const at::Tensor& target, int64_t scale_by, double floor) {
               return mixture_formula({logits, mean, scale, target, scale_by, floor});
             });
  module.attr("serlu_alpha") = SERLU::kAlpha;
  module.attr("serlu_scale") = SERLU::kLambda;
  // The names of the activations, in the order of the list.
  module.def("activations", [] {
    std::vector<std::string> names;
    for (const Kind& kind : kinds()) names.push_back(kind.name);
    return names;
  });
  module.def("replaceable", &aten::groups);
  module.def("operators_of", &aten::operators_of);
  module.def("replace", &aten::replace);
  aten::set_cross_entropy(&cross_entropy_by_python);
  module.def("is_plain_memory", &is_plain_memory);
  module.def("draw_seed", [] {
    const at::Tensor seed = drawn_seed();
    return seed.defined() ? std::optional(seed) : std::nullopt;
  });
  // For tensors that torch's operators compute with before ours do.
  module.def("check_storage", [](const at::Tensor& tensor) {
    if (is_plain_memory(tensor)) check_storage(tensor);
  });
  module.def("check_classes", [](const at::Tensor& target, int64_t classes, int64_t ignore_index) {
    check_storage(target);
    check_classes(target.contiguous(), classes, ignore_index);
  });
  module.def("check_targets", [](const at::Device& device) {
    pybind11::gil_scoped_release no_gil;
    if (has_launchers(device)) launchers_on(device).check_targets(device);
  });
  module.def("has_kernels_on", [](const at::Device& device) { return has_launchers(device); });
  // "cpu", and "cuda" where the package was built with CUDA's kernels.
  module.def("devices", [] {
    std::vector<std::string> names = {"cpu"};
    if (has_launchers(at::kCUDA)) names.push_back("cuda");
    return names;
  });
  module.def("supported_capabilities", &supported_capabilities);
  module.def("empty_cache", &cpu::empty_cache);
  cpu::large_blocks();
}

}  // namespace activations_ext
