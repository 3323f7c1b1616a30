#include <new>

#include "../activations/all.h"
#include "kind.h"
#include "parameters.h"

namespace activations_ext {
namespace {

template <class A>
AnyActivation any(const Values& values, at::ScalarType dtype);

template <class A>
constexpr Kind kKind = {A::kName,  A::kParameters, Activations::index_of<A>(),
                        A::kShape, kFromInput<A>,  kFromResult<A>,
                        &any<A>};

template <class... A>
constexpr std::array<Kind, sizeof...(A)> listed(TypeList<A...>) {
  return {kKind<A>...};
}
constexpr auto kKinds = listed(Activations());

template <class A>
AnyActivation any(const Values& values, at::ScalarType dtype) {
  static_assert(Activation<A> && kArity<A> <= kMaxArity);
  Parameters<A> parameters;
  std::copy_n(values.begin(), kArity<A>, parameters.begin());
  const A activation = make<A>(parameters, dtype);
  AnyActivation result = {
      &kKinds[Activations::index_of<A>()], saves_result_in_place(activation), {}};
  static_assert(sizeof(A) <= sizeof result.memory);
  new (result.memory.data()) A(activation);
  return result;
}

}  // namespace

std::span<const Kind> kinds() { return kKinds; }

}  // namespace activations_ext
