// The safetensors format (https://huggingface.co/docs/safetensors, "Format"):
//   u64 little-endian n | n bytes of JSON {name: {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {}} | data
// Offsets count from the start of the data. Together the tensors cover the data exactly.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "halyard/base/file.h"
#include "halyard/base/result.h"
#include "halyard/base/types.h"
#include "halyard/io/mapped_file.h"

namespace halyard {

/// One tensor of a file.
struct Tensor {
  std::string name;
  DType dtype = DType::f32;         ///< u8 where Halyard has no type of the file's name
  std::string type;                 ///< as the file calls it, "F8_E4M3"
  Shape shape;                      ///< outermost extent first
  std::span<const std::byte> data;  ///< row-major, little-endian, size_of(dtype) × elements if known; may be unaligned
  std::shared_ptr<const std::string> file;  ///< the file's path; holding it keeps `data` mapped
};

using Metadata = std::map<std::string, std::string>;

/// What a safetensors file holds.
struct SafeTensorsContents {
  std::vector<Tensor> tensors;  ///< sorted by name
  Metadata metadata;            ///< `__metadata__`
};

/// Reads a whole file in memory; `name` is what errors call it. The tensors' data point into `file`.
///
/// Refused as bad_file: a header beyond 100 MB or the file's end, anything but the JSON above, a key twice, an unknown
/// dtype, more than 8 extents, sizes that overflow or disagree with the offsets, overlaps, holes, bytes that belong to
/// no tensor. 8-bit floats (F8_E4M3, F8_E5M2, F8_E8M0) are given as u8.
Result<SafeTensorsContents> parse_safetensors(std::span<const std::byte> file, std::string_view name);

/// A mapped safetensors file.
class SafeTensors {
 public:
  /// Errors name the file, and the tensor and field where there is one.
  static Result<SafeTensors> open(const std::string& path);

  /// Sorted by name.
  std::span<const Tensor> tensors() const { return contents_.tensors; }
  std::vector<Tensor> take_tensors() && { return std::move(contents_.tensors); }
  /// The tensor of this name, or null.
  const Tensor* find(std::string_view name) const;
  const Metadata& metadata() const { return contents_.metadata; }
  const MappedFile& file() const { return file_; }

 private:
  SafeTensors(MappedFile file, SafeTensorsContents contents) : file_(std::move(file)), contents_(std::move(contents)) {}
  MappedFile file_;
  SafeTensorsContents contents_;
};

/// Sorts by name; of equal names the first stays first.
void sort_by_name(std::vector<Tensor>&);
/// The tensor of this name among tensors sorted by name, or null.
const Tensor* find_tensor(std::span<const Tensor> sorted, std::string_view name);

/// A tensor to be written.
struct TensorToWrite {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::span<const std::byte> data;  ///< row-major; exactly size_of(dtype) × elements
};

/// Writes a safetensors file, whole or not at all (`FileWriter`). Wide elements are laid first, so every tensor is aligned to
/// its element.
Result<void> write_safetensors(const std::string& path, std::span<const TensorToWrite> tensors,
                               const Metadata& metadata = {});
/// The same to a file already begun: writes and commits.
Result<void> write_safetensors(FileWriter& file, std::span<const TensorToWrite> tensors, const Metadata& metadata = {});

}  // namespace halyard
