#include "lora/peft/base_reference.h"

#include "lora/base/error.h"
#include "lora/base/log.h"

namespace lora::peft {

namespace {

const char* const kKey = "base_fingerprint";
const char* const kLabels = "labels";
const char* const kQuantization = "base_quantization";
const char* const kSettings = "base_quantization_settings";
const char* const kCorrects = "corrects_quantization";

std::string metadata_entry(const std::map<std::string, std::string>& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? "" : found->second;
}

}  // namespace

std::map<std::string, std::string> BaseReference::metadata() const {
  std::map<std::string, std::string> all{{"format", "pt"}};
  if (!fingerprint.empty()) {
    all.emplace(kKey, fingerprint);
  }
  if (!quantization.empty()) {
    all.emplace(kQuantization, quantization);
  }
  if (!quantization_settings.empty()) {
    all.emplace(kSettings, quantization_settings);
  }
  if (corrects_quantization) {
    all.emplace(kCorrects, "true");
  }
  if (!labels.empty()) {
    all.emplace(kLabels, labels);
  }
  return all;
}

std::string base_fingerprint(const std::map<std::string, std::string>& metadata) {
  return metadata_entry(metadata, kKey);
}

std::string stored_label_set(const std::map<std::string, std::string>& metadata) {
  return metadata_entry(metadata, kLabels);
}

std::string base_quantization(const std::map<std::string, std::string>& metadata) {
  return metadata_entry(metadata, kQuantization);
}

bool corrects_quantization(const std::map<std::string, std::string>& metadata) {
  return !metadata_entry(metadata, kCorrects).empty();
}

BaseQuantization stored_base_quantization(const std::map<std::string, std::string>& metadata) {
  return {base_quantization(metadata), metadata_entry(metadata, kSettings), corrects_quantization(metadata)};
}

void require_same_base(const std::string& where, const std::string& fingerprint, const BaseReference& base) {
  if (fingerprint.empty() || base.fingerprint.empty() || fingerprint == base.fingerprint) {
    return;
  }
  const std::string fault = "was trained on another base: found the fingerprint " + fingerprint.substr(0, 12) + "…, expected " +
                            base.fingerprint.substr(0, 12) + "… of '" + base.name + "'";
  if (!base.allow_other) {
    model_error(where, fault + ". Give the base that it was trained on, or use it on this one with --allow-other-base.");
  }
  log::warn("[" + where + "] " + fault);
}

void require_base(const std::string& where, const std::map<std::string, std::string>& metadata, const BaseReference& base) {
  require_same_base(where, base_fingerprint(metadata), base);
  warn_of_other_quantization(where, metadata, base);
}

void warn_of_other_quantization(const std::string& where, const std::map<std::string, std::string>& metadata, const BaseReference& base) {
  const std::string theirs = base_quantization(metadata);
  // Ours alone write a fingerprint, so that another program's adapter says nothing about its base.
  if (theirs == base.quantization || (theirs.empty() && base_fingerprint(metadata).empty())) {
    return;
  }
  const auto text = [](const std::string& quantization) {
    return quantization.empty() ? std::string("a base of plain numbers") : quantization;
  };
  log::warn("[" + where + "] was trained on " + text(theirs) + ", and is used on " + text(base.quantization) +
            ": its results differ from those in training." +
            (corrects_quantization(metadata) && base.quantization.empty()
                 ? " It was initialised by LoftQ and corrects errors that this base does not have."
                 : ""));
}

}  // namespace lora::peft
