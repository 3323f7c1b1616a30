#include "../statistics_rows.h"

namespace activations_ext::cpu {

void fill_statistics(KernelTable& table) {
  for_each_number([&]<class S>(Number number) { fill_table<S>(table.statistics, number); });
}

}  // namespace activations_ext::cpu
