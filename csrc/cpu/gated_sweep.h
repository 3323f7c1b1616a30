// Gated linear units on the CPU.
#pragma once

#include "../gates/gated.h"
#include "kernels.h"
#include "shortcuts.h"
#include "sweep.h"

namespace activations_ext::cpu {

template <class Gate, class S>
struct GatedSweeps {
  using V = ComputeVec<S>;

  [[gnu::flatten]] static void forward(const void* options, char* const* operands, int64_t count,
                                       bool stream) {
    const Gate local(*static_cast<const GateOptions*>(options));
    map(Arrays<S, 1, 2>(operands), count, stream,
        [local](V gate, V up) { return local.value(gate, up); });
  }
  [[gnu::flatten]] static void backward(const void* options, char* const* operands, int64_t count,
                                        bool stream) {
    const Gate local(*static_cast<const GateOptions*>(options));
    map(Arrays<S, 2, 3>(operands), count, stream, [local](V grad, V gate, V up) {
      const auto of = local.gradients(grad, gate, up);
      return std::array<V, 2>{of.gate, of.up};
    });
  }
};

template <class S>
void fill_table(GatedKernels (&table)[Gates::kSize][kNumbers], Number number) {
  Gates::for_each([&]<class Gate>() {
    using Sweeps = GatedSweeps<Gate, S>;
    table[Gates::index_of<Gate>()][int(number)] = {&Sweeps::forward, &Sweeps::backward};
  });
}

}  // namespace activations_ext::cpu
