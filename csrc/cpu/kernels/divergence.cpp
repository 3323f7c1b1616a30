#include "../divergence_rows.h"

namespace activations_ext::cpu {

void fill_divergence(KernelTable& table) {
  for_each_number([&]<class S>(Number number) { fill_table<S>(table.divergence, number); });
}

}  // namespace activations_ext::cpu
