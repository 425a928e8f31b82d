#pragma once
#include <filesystem>
#include <string>

/// Folders of this build, as absolute paths. They are compiled into one source only (paths.cpp), so that the compiler's cache serves every
/// clone of the repository.
namespace lora::test {

std::string data_folder();     ///< tests/data
std::string source_folder();   ///< root of the repository
std::string program_folder();  ///< build/<preset>/bin

inline const std::filesystem::path kData = data_folder();

}  // namespace lora::test
