#pragma once
#include <string>
#include <vector>

namespace lora::data {

/// The files that `path` names, sorted: the path itself or the matches of a glob (*, ?, [ ] in any part). "-" is stdin; a pipe is itself.
/// A path that exists is not treated as a glob. Throws data Error if there is no such file or it is a folder.
std::vector<std::string> expand_path(const std::string& path);

}  // namespace lora::data
