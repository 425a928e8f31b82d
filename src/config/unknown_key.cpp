#include "config/unknown_key.h"

#include <algorithm>

#include "config/schema_check.h"
#include "lora/base/text.h"
#include "lora/config/run_config.h"

namespace lora::config {

namespace {

/// lora-rank, LoRA_Rank and lora_rank are one name.
std::string folded(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
    return c == '-' ? '_' : c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
  });
  return name;
}

/// JSON paths of every `key` in a schema, each once.
void collect_paths(const Json& schema, const std::string& key, const std::string& path, std::vector<std::string>& found) {
  if (schema.contains("properties")) {
    for (const auto& [name, property] : schema["properties"].items()) {
      const std::string below = path.empty() ? name : path + "." + name;
      if (name == key && std::find(found.begin(), found.end(), below) == found.end()) {
        found.push_back(below);
      }
      collect_paths(property, key, below, found);
    }
  }
  if (schema.contains("items")) {
    collect_paths(schema["items"], key, path + "[]", found);
  }
  // Sections of several kinds (methods of the adapter), without lists of them, which have the same keys.
  for (const Json& alternative : schema.value("anyOf", Json::array())) {
    if (alternative.contains("properties")) {
      collect_paths(alternative, key, path, found);
    }
  }
}

std::string peer_message(const std::string& key) {
  const std::string name = folded(key);
  for (const PeerKey& peer : peer_keys()) {
    if (name == peer.name) {
      const std::string ours = peer.ours;
      const std::string remark = peer.remark;
      return ours.empty() ? remark : "write '" + ours + "'" + (remark.empty() ? "" : ", " + remark) + " (the name is another tool's)";
    }
  }
  return "";
}

/// What the user most likely meant; "" if that is unclear.
std::string hint_for(const std::string& key, const std::vector<std::string>& known) {
  if (const std::string peer = peer_message(key); !peer.empty()) {
    return ": " + peer;
  }
  std::vector<std::string> elsewhere;
  collect_paths(run_config_schema(), key, "", elsewhere);
  if (!elsewhere.empty()) {
    return " here: it belongs at '" + join(elsewhere, "' and '") + "'";
  }
  const std::string nearest = nearest_name(key, known);
  return nearest.empty() ? "" : ". Did you mean '" + nearest + "'?";
}

}  // namespace

void report_unknown_key(const std::string& key, const std::vector<std::string>& known, const ConfigPlace& at, bool& listed) {
  const std::string hint = hint_for(key, known);
  const bool lists = hint.empty() && !listed;
  at.key(key).add("unknown key" + hint + (lists ? ". The known keys are " + join(known, ", ", 40) + "." : ""));
  listed = listed || lists;
}

void report_missing_key(const Json& schema, const ConfigPlace& at) {
  const std::string expected = expected_text(schema);
  at.add("is missing" + (expected.empty() ? "" : ", expected " + expected));
}

}  // namespace lora::config
