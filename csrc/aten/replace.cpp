#include "replace.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <memory>
#include <mutex>

namespace activations_ext::aten {
namespace {

// Every operator has a library of its own, whose destructor restores torch's kernel.
struct Replaced {
  std::string group;
  std::unique_ptr<torch::Library> library;
};

std::mutex mutex;
std::vector<Replaced>& replaced() {
  static auto* const all = new std::vector<Replaced>;  // the dispatcher may be gone before it
  return *all;
}

std::vector<Group> all_groups() {
  std::vector<Group> all = activations();
  all.insert(all.end(), rows().begin(), rows().end());
  return all;
}

// The dispatcher warns of the first kernel that takes another's place.
struct Silent : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

std::vector<std::string> groups() {
  std::vector<std::string> names;
  for (const Group& group : all_groups()) names.push_back(group.name);
  return names;
}

std::vector<std::string> operators_of(const std::vector<std::string>& wanted) {
  std::vector<std::string> names;
  for (const Group& group : all_groups()) {
    if (!contains(wanted, group.name)) continue;
    for (const Operator& op : group.operators) names.push_back(std::string("aten::") + op.name);
  }
  return names;
}

void replace(const std::vector<std::string>& wanted) {
  for (const std::string& name : wanted)
    TORCH_CHECK_VALUE(contains(groups(), name),
                      "replace(): expected names of functions with "
                      "kernels, but got '",
                      name, "'");
  const std::lock_guard lock(mutex);
  std::erase_if(replaced(), [&](const Replaced& one) { return !contains(wanted, one.group); });
  Silent silent;
  const c10::WarningUtils::WarningHandlerGuard guard(&silent);
  for (const Group& group : all_groups()) {
    const bool is_there = std::any_of(replaced().begin(), replaced().end(),
                                      [&](const Replaced& one) { return one.group == group.name; });
    if (is_there || !contains(wanted, group.name)) continue;
    const auto key = std::string_view(group.name) == "cross_entropy_loss"
                         ? c10::DispatchKey::AutogradCPU
                         : c10::DispatchKey::CPU;
    auto library =
        std::make_unique<torch::Library>(torch::Library::IMPL, "aten", key, __FILE__, __LINE__);
    for (const Operator& op : group.operators) op.implement(*library, op.name);
    replaced().push_back({group.name, std::move(library)});
  }
}

}  // namespace activations_ext::aten
