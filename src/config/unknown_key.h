#pragma once
#include <span>
#include <string>
#include <vector>

#include "config/findings.h"
#include "lora/base/json.h"

namespace lora::config {

/// Another training tool's name for one of our keys.
struct PeerKey {
  const char* name;
  const char* ours;    ///< our JSON path; "" if there is no such key
  const char* remark;  ///< which value to write, or why there is no such key
};

std::span<const PeerKey> peer_keys();

/// Reports an unknown key of the object at `at`, whose keys are `known`: another tool's name, a key of another section, or a
/// misspelling. For any other key the known ones are listed, unless they are `listed` already.
void report_unknown_key(const std::string& key, const std::vector<std::string>& known, const ConfigPlace& at, bool& listed);

/// Reports that the key at `at`, whose values `schema` describes, is missing.
void report_missing_key(const Json& schema, const ConfigPlace& at);

}  // namespace lora::config
