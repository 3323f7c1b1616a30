// One kernel module: `import _cpu_avx512; _cpu_avx512.kernels` is a capsule that holds the address
// of the table. CPU_MODULE, the module's name, comes from setup.py. torch is not known here.
#include <Python.h>

#include "../kernels.h"

namespace activations_ext::cpu {

// One file for each family of kernels, so that a change compiles what it concerns.
void fill_pointwise_float(KernelTable& table);
void fill_pointwise_double(KernelTable& table);
void fill_pointwise_bfloat16(KernelTable& table);
void fill_pointwise_half(KernelTable& table);
void fill_prelu(KernelTable& table);
void fill_random(KernelTable& table);
void fill_softmax(KernelTable& table);
void fill_statistics(KernelTable& table);
void fill_divergence(KernelTable& table);
void fill_binary_cross_entropy(KernelTable& table);
void fill_mixture(KernelTable& table);
void fill_gated(KernelTable& table);

}  // namespace activations_ext::cpu

#define JOIN_EXPANDED(a, b) a##b
#define JOIN(a, b) JOIN_EXPANDED(a, b)
#define QUOTE_EXPANDED(a) #a
#define QUOTE(a) QUOTE_EXPANDED(a)

PyMODINIT_FUNC JOIN(PyInit_, CPU_MODULE)() {
  using namespace activations_ext::cpu;
  // Once, although Python calls this again where the module was taken out of sys.modules.
  static KernelTable table = [] {
    KernelTable all = {};
    fill_pointwise_float(all);
    fill_pointwise_double(all);
    fill_pointwise_bfloat16(all);
    fill_pointwise_half(all);
    fill_prelu(all);
    fill_random(all);
    fill_softmax(all);
    fill_statistics(all);
    fill_divergence(all);
    fill_binary_cross_entropy(all);
    fill_mixture(all);
    fill_gated(all);
    return all;
  }();
  static PyModuleDef definition = [] {
    PyModuleDef named = {};
    named.m_base = PyModuleDef_HEAD_INIT;
    named.m_name = QUOTE(CPU_MODULE);
    return named;
  }();
  PyObject* module = PyModule_Create(&definition);
  if (module == nullptr) return nullptr;
  PyObject* capsule = PyCapsule_New(&table, kKernelTableCapsule, nullptr);
  if (capsule == nullptr || PyModule_AddObject(module, "kernels", capsule) < 0) {
    Py_XDECREF(capsule);
    Py_DECREF(module);
    return nullptr;
  }
  return module;
}
