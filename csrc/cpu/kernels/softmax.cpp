#include "../softmax_rows.h"

namespace activations_ext::cpu {

void fill_softmax(KernelTable& table) {
  for_each_number([&]<class S>(Number number) {
    fill_table<Softmax, S>(table.softmax, number);
    fill_table<LogSoftmax, S>(table.log_softmax, number);
  });
}

}  // namespace activations_ext::cpu
