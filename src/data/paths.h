#pragma once
#include <string>
#include <vector>

namespace lora::data {

/// The files that `path` names, sorted: itself, or what a glob (*, ?, [ ] in any part) matches; "-" stands for stdin, a pipe for itself.
/// A path that exists is taken as it is, brackets and all. Throws data Error where nothing is found or a folder is.
std::vector<std::string> expand_path(const std::string& path);

}  // namespace lora::data
