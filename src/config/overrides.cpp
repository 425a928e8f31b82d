#include "config/overrides.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "lora/base/text.h"

namespace lora::config {

namespace {

Json value_of(const std::string& text) {
  try {
    return parse_json(text, "--set", ErrorKind::kConfig);
  } catch (const Error&) {
    return Json(text);
  }
}

std::optional<size_t> index_of(const std::string& part, size_t size) {
  const bool digits =
      !part.empty() && part.size() < 10 && std::all_of(part.begin(), part.end(), [](unsigned char c) { return c >= '0' && c <= '9'; });
  if (!digits || std::stoul(part) > size) {
    return std::nullopt;
  }
  return std::stoul(part);
}

/// The member or item `part` of `node`, created if it is missing. Null if `node` cannot have it.
Json* step_into(Json& node, const std::string& part) {
  if (node.is_object()) {
    if (!node.contains(part)) {
      node[part] = Json::object();
    }
    return &node[part];
  }
  const std::optional<size_t> index = node.is_array() ? index_of(part, node.size()) : std::nullopt;
  if (!index) {
    return nullptr;
  }
  if (*index == node.size()) {
    node.push_back(Json::object());
  }
  return &node[*index];
}

}  // namespace

void apply_override(Json& document, const std::string& override, Findings& findings) {
  const std::string where = "--set " + printable(override);
  const size_t equals = override.find('=');
  const std::vector<std::string> parts = split(override.substr(0, equals), '.');
  const bool has_empty = std::any_of(parts.begin(), parts.end(), [](const std::string& part) { return part.empty(); });
  if (equals == std::string::npos || has_empty || parts.empty()) {
    findings.add(where, "is not a setting, expected section.key=value, such as training.learning_rate=1e-4");
    return;
  }
  if (invalid_utf8_at(override) != std::string::npos) {
    findings.add(where, "is not valid UTF-8");
    return;
  }
  Json changed = document;  // a setting that fails half-way changes nothing
  Json* node = &changed;
  std::string path;
  for (const std::string& part : parts) {
    Json* const next = step_into(*node, part);
    if (next == nullptr) {
      const std::string expected = node->is_array() ? "an index from 0 to " + std::to_string(node->size()) : "an object";
      findings.add(where, "cannot set '" + printable(part) + "' in '" + printable(path) + "': found " +
                              (node->is_array() ? printable(part) : shown(*node)) + ", expected " + expected);
      return;
    }
    node = next;
    path += (path.empty() ? "" : ".") + part;
  }
  *node = value_of(override.substr(equals + 1));
  document = std::move(changed);
}

}  // namespace lora::config
