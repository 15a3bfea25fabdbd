// Reads golden safetensors files in tests that may not use halyard/io. No care is taken with hostile files.
#pragma once

#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "halyard/base/json.h"
#include "halyard/base/types.h"
#include "halyard/testing/json.h"

namespace halyard::testing {

struct LiteTensor {
  DType dtype = DType::f32;
  std::vector<std::size_t> shape;
  std::vector<std::byte> bytes;

  template <class T> std::vector<T> as() const {
    std::vector<T> v(bytes.size() / sizeof(T));
    std::memcpy(v.data(), bytes.data(), v.size() * sizeof(T));
    return v;
  }
};

inline DType lite_dtype(const std::string& name) {
  static const std::map<std::string, DType> names = {{"F32", DType::f32}, {"F16", DType::f16}, {"BF16", DType::bf16},
                                                     {"U32", DType::u32}, {"I32", DType::i32}, {"U8", DType::u8}};
  return names.at(name);
}

/// All tensors of a file by name.
inline std::map<std::string, LiteTensor> read_safetensors_lite(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string file((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  std::uint64_t header = 0;
  std::memcpy(&header, file.data(), sizeof header);
  std::map<std::string, LiteTensor> tensors;
  const Json json = json_of(file.substr(8, header));
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") continue;
    LiteTensor t;
    t.dtype = lite_dtype(value["dtype"].get<std::string>());
    t.shape = value["shape"].get<std::vector<std::size_t>>();
    const auto range = value["data_offsets"].get<std::vector<std::size_t>>();
    const auto* from = reinterpret_cast<const std::byte*>(file.data() + 8 + header);
    t.bytes.assign(from + range[0], from + range[1]);
    tensors.emplace(std::string(name), std::move(t));
  }
  return tensors;
}

}  // namespace halyard::testing
