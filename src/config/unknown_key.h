#pragma once
#include <span>
#include <string>
#include <vector>

#include "config/findings.h"
#include "lora/base/json.h"

namespace lora::config {

/// What another training tool calls one of our keys.
struct PeerKey {
  const char* name;
  const char* ours;    ///< our JSON path; "" where there is none
  const char* remark;  ///< what to write there, or why there is none
};

std::span<const PeerKey> peer_keys();

/// Says what is wrong with a key of the object at `at` that knows only `known`: another tool's name, a key of another section, or a slip of
/// the hand. Where it is none of these the known ones are listed, unless they are `listed` already.
void report_unknown_key(const std::string& key, const std::vector<std::string>& known, const Place& at, bool& listed);

/// Says that the key at `at`, with values of `schema`, is missing.
void report_missing_key(const Json& schema, const Place& at);

}  // namespace lora::config
