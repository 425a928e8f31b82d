#pragma once
#include <map>
#include <string>

namespace lora::peft {

/// The base that an adapter is of. Shapes say little (every fine-tuned sibling of a model has them), so an adapter's file
/// carries its base's fingerprint in the safetensors metadata, where other programs pass over it.
struct BaseReference {
  BaseReference(const char* name) : name(name) {}
  BaseReference(std::string name, std::string fingerprint = "", bool allow_other = false)
      : name(std::move(name)), fingerprint(std::move(fingerprint)), allow_other(allow_other) {}

  std::string name;          ///< base_model_name_or_path of adapter_config.json
  std::string fingerprint;   ///< io::CheckpointSource::fingerprint(); empty: not known
  bool allow_other = false;  ///< an adapter of another base may be used with this one: warned of
  std::string labels;        ///< what an adapter's classifier means, as JSON; empty: it has none

  /// Metadata of the weights' file of an adapter of this base.
  std::map<std::string, std::string> metadata() const;
};

/// The fingerprint in the metadata of an adapter's weights' file; empty: it has none (PEFT's have none).
std::string base_fingerprint(const std::map<std::string, std::string>& metadata);

/// The labels there; empty: it names none (PEFT's do not).
std::string stored_label_set(const std::map<std::string, std::string>& metadata);

/// Throws model Error if an adapter with this fingerprint is of another base; where the reference allows it, warns. Says
/// nothing where either is not known.
/// @param where the adapter, for the message.
void check_base(const std::string& where, const std::string& fingerprint, const BaseReference& base);

}  // namespace lora::peft
