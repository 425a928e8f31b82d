#include "config/paths.h"

#include <system_error>
#include <utility>
#include <vector>

#include "lora/base/regex.h"
#include "lora/io/weight_source.h"
#include "lora/models/gguf_model.h"

namespace lora::config {

namespace fs = std::filesystem;

fs::path absolute_path(const Context& context, const fs::path& path) {
  const fs::path result = (context.folder / path).lexically_normal();
  return result.has_filename() || !result.has_relative_path() ? result : result.parent_path();
}

ModelFolder find_model(const Context& context, const std::string& name) {
  const fs::path local = absolute_path(context, name);
  std::error_code ignored;
  const Regex repository("[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*", "model.path", ErrorKind::kConfig);
  models::add_gguf_model(local);
  if (!repository.matches_whole(name) || fs::exists(local, ignored)) {
    return {local, local.string(), {}};
  }
  std::vector<std::string> searched{local.string()};
  for (const fs::path& cache : context.surroundings.hub_caches) {
    const fs::path found = io::find_in_hub_cache(cache, name);
    if (!found.empty()) {
      return {found, name, {}};
    }
    searched.push_back(cache.string());
  }
  return {local, local.string(), std::move(searched)};
}

bool is_same_folder(const fs::path& a, const fs::path& b) {
  std::error_code ignored;
  return a == b || fs::equivalent(a, b, ignored);
}

}  // namespace lora::config
