#include "lora/peft/base_reference.h"

#include "lora/base/error.h"
#include "lora/base/log.h"

namespace lora::peft {

namespace {

const char* const kKey = "base_fingerprint";
const char* const kLabels = "labels";

std::string entry_of(const io::SafetensorsFile& weights, const char* key) {
  const auto found = weights.metadata().find(key);
  return found == weights.metadata().end() ? "" : found->second;
}

}  // namespace

std::map<std::string, std::string> BaseReference::metadata() const {
  std::map<std::string, std::string> all{{"format", "pt"}};
  if (!fingerprint.empty()) {
    all.emplace(kKey, fingerprint);
  }
  if (!labels.empty()) {
    all.emplace(kLabels, labels);
  }
  return all;
}

std::string base_fingerprint(const io::SafetensorsFile& weights) {
  return entry_of(weights, kKey);
}

std::string stored_label_set(const io::SafetensorsFile& weights) {
  return entry_of(weights, kLabels);
}

void check_base(const std::string& where, const std::string& fingerprint, const BaseReference& base) {
  if (fingerprint.empty() || base.fingerprint.empty() || fingerprint == base.fingerprint) {
    return;
  }
  const std::string fault = "was trained on another base: found the fingerprint " + fingerprint.substr(0, 12) + "…, expected " +
                            base.fingerprint.substr(0, 12) + "… of '" + base.name + "'";
  if (!base.allow_other) {
    model_error(where, fault + ". Give the base it was trained on; --allow-other-base uses it on this one all the same");
  }
  log::warn("[" + where + "] " + fault);
}

}  // namespace lora::peft
