// Structs of tensors and numbers whose members can be iterated: an operator's arguments, or what a
// graph node saves. Such a struct defines
//
//   auto members() { return std::tie(logits, target, ignore_index); }
//
// The members are Tensor, MaybeTensor, int64_t, double and bool.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>
#include <type_traits>

namespace activations_ext {

// An optional argument of a schema.
using MaybeTensor = std::optional<at::Tensor>;
inline at::Tensor or_undefined(const MaybeTensor& tensor) { return tensor.value_or(at::Tensor()); }
inline MaybeTensor or_none(const at::Tensor& tensor) {
  return tensor.defined() ? MaybeTensor(tensor) : std::nullopt;
}

inline const at::Tensor& as_tensor(const at::Tensor& tensor) { return tensor; }
inline at::Tensor as_tensor(const MaybeTensor& tensor) { return or_undefined(tensor); }
inline void set_tensor(at::Tensor& member, const at::Tensor& tensor) { member = tensor; }
inline void set_tensor(MaybeTensor& member, const at::Tensor& tensor) { member = or_none(tensor); }

template <class Member>
constexpr bool kIsTensor = std::is_same_v<std::remove_cvref_t<Member>, at::Tensor> ||
                           std::is_same_v<std::remove_cvref_t<Member>, MaybeTensor>;

template <class Struct>
using Members = decltype(std::declval<Struct&>().members());

template <class Struct>
constexpr std::size_t count_tensors() {
  return []<class... Member>(std::tuple<Member...>*) {
    return (std::size_t(kIsTensor<Member>) + ... + 0);
  }(static_cast<Members<Struct>*>(nullptr));
}

// Calls use(member) for each member; const if the struct is.
template <class Struct, class Use>
void for_each_member(Struct&& of, Use use) {
  using Plain = std::remove_cvref_t<Struct>;
  std::apply(
      [&](auto&... member) {
        if constexpr (std::is_const_v<std::remove_reference_t<Struct>>)
          (use(std::as_const(member)), ...);
        else
          (use(member), ...);
      },
      const_cast<Plain&>(of).members());
}
template <class Struct, class Use>
void for_each_tensor(Struct&& of, Use use) {
  for_each_member(of, [&](auto& member) {
    if constexpr (kIsTensor<decltype(member)>) use(member);
  });
}
template <class Struct, class Use>
void for_each_number(Struct&& of, Use use) {
  for_each_member(of, [&](auto& member) {
    if constexpr (!kIsTensor<decltype(member)>) use(member);
  });
}

}  // namespace activations_ext
