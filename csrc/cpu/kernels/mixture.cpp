#include "../mixture_rows.h"

namespace activations_ext::cpu {

void fill_mixture(KernelTable& table) {
  for_each_number([&]<class S>(Number number) { fill_table<S>(table.mixture, number); });
}

}  // namespace activations_ext::cpu
