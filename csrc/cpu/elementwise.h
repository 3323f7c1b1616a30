// Elementwise kernels on tensors: any strides, shared between threads.
#pragma once

#include <ATen/TensorIterator.h>

#include <initializer_list>

#include "kernels.h"
#include "share.h"

namespace activations_ext::cpu {

constexpr int kMostOperands = 6;

struct Elementwise {
  ElementwiseKernel kernel;
  const void* function = nullptr;
  int64_t grain = worth::kElements;
};

// The outputs, all of one shape, then the inputs, which are broadcast to it. Undefined tensors are
// skipped.
using Operands = std::initializer_list<const at::Tensor*>;

void run(const Elementwise& op, Operands operands, int outputs = 1);

// Splits a row of operands of any stride into contiguous pieces. Operands that are not contiguous
// go through small buffers.
class ContiguousPieces {
 public:
  // The first `outputs` operands are written.
  ContiguousPieces(const at::TensorIteratorBase& iterator, int outputs);

  // piece(operands, count) for every piece of `count` elements from `data` on, `strides` in bytes.
  template <class Piece>
  void operator()(char* const* data, const int64_t* strides, int64_t count, const Piece& piece) {
    const bool contiguous =
        std::all_of(strides, strides + operands_, [&](int64_t s) { return s == itemsize_; });
    if (contiguous) return piece(data, count);
    for (int64_t begin = 0; begin < count; begin += kBuffer) {
      const int64_t size = std::min(kBuffer, count - begin);
      char* at[kMostOperands];
      for (int k = 0; k < operands_; ++k) {
        char* const there = data[k] + begin * strides[k];
        const bool direct = strides[k] == itemsize_;
        at[k] = direct ? there : buffers_[k];
        // A broadcast operand stays in its buffer.
        if (!direct && k >= outputs_ && (strides[k] != 0 || begin == 0))
          copy(at[k], itemsize_, there, strides[k], size);
      }
      piece(at, size);
      for (int k = 0; k < outputs_; ++k) {
        if (strides[k] != itemsize_)
          copy(data[k] + begin * strides[k], strides[k], at[k], itemsize_, size);
      }
    }
  }

 private:
  void copy(char* to, int64_t to_stride, const char* from, int64_t from_stride,
            int64_t count) const;

  static constexpr int64_t kBuffer = 512;  // elements
  int operands_, outputs_;
  int64_t itemsize_;
  alignas(64) char buffers_[kMostOperands][kBuffer * sizeof(double)];
};

// An iterator over operands, of which the first `outputs` are written.
at::TensorIterator iterator_over(Operands operands, int outputs);

// row(data, strides, count) for each row of a two-dimensional loop of an iterator.
template <class Row>
void for_each_row(char* const* base, const int64_t* strides, int operands, int64_t count,
                  int64_t rows, const Row& row) {
  char* data[kMostOperands];
  std::copy(base, base + operands, data);
  for (int64_t r = 0; r < rows; ++r) {
    row(data, strides, count);
    for (int k = 0; k < operands; ++k) data[k] += strides[operands + k];
  }
}

}  // namespace activations_ext::cpu
