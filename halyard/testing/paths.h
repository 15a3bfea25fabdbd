// Where the tests find their data: the goldens beside the project where they lie there, else the subset in testdata/.
#pragma once

#include <filesystem>
#include <string>

namespace halyard::testing {

/// The checkout's root.
inline std::filesystem::path source_dir() { return HALYARD_SOURCE_DIR; }

/// The folder of goldens: ../shared/goldens, or testdata/goldens in a checkout without it.
inline std::filesystem::path goldens() {
  const auto shared = source_dir().parent_path() / "shared" / "goldens";
  return std::filesystem::is_directory(shared) ? shared : source_dir() / "testdata" / "goldens";
}

/// A golden's path, or an empty one where neither place has it.
inline std::filesystem::path golden(const std::string& name) {
  const auto p = goldens() / name;
  return std::filesystem::exists(p) ? p : std::filesystem::path();
}

/// The model that ships with the project.
inline std::filesystem::path default_model() { return source_dir() / "models" / "gutenberg-29m-4bit"; }

}  // namespace halyard::testing
