// Rows of a table.
#pragma once

#include "halyard/hal/encoder.h"
#include "halyard/hal/device.h"
#include "halyard/quant/format.h"

namespace halyard::ops {

/// A table [n, k] that rows are looked up in, in its file's own layout: no copy is made where the device can read it.
class EmbeddingTable {
 public:
  static Result<EmbeddingTable> load(Device, const quant::MatrixView&);
  std::size_t rows() const { return n_; }
  std::size_t width() const { return k_; }
  DType dtype() const { return dtype_; }  ///< of its values, or of the scales of quantised ones

 private:
  friend Result<void> embedding(CommandEncoder&, const Buffer&, const EmbeddingTable&, const Buffer&);
  quant::Format format_ = quant::Format::dense;
  DType dtype_ = DType::f32;
  std::size_t n_ = 0, k_ = 0;
  int bits_ = 0, group_size_ = 0;
  Buffer data_, scales_, biases_;
};

/// out[t] = table[ids[t]], dequantised to f32. ids: i32 [T]; out: f32 [T, k], apart from ids. An id outside the table makes the command
/// buffer fail, naming the id.
Result<void> embedding(CommandEncoder&, const Buffer& ids, const EmbeddingTable& table, const Buffer& out);

}  // namespace halyard::ops
