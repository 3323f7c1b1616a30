#include "../binary_sweep.h"

namespace activations_ext::cpu {

void fill_binary_cross_entropy(KernelTable& table) {
  for_each_number(
      [&]<class S>(Number number) { fill_table<S>(table.binary_cross_entropy, number); });
}

}  // namespace activations_ext::cpu
