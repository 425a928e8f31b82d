#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>

namespace lora::peft {

/// The base that an adapter belongs to. Shapes cannot identify it, because every fine-tuned sibling of a model has the same ones. So an
/// adapter's file has its base's fingerprint in the safetensors metadata, which other programs ignore.
struct BaseReference {
  BaseReference(const char* name) : name(name) {}
  BaseReference(std::string name, std::string fingerprint = "", bool allow_other = false)
      : name(std::move(name)), fingerprint(std::move(fingerprint)), allow_other(allow_other) {}

  std::string name;          ///< base_model_name_or_path of adapter_config.json
  std::string fingerprint;   ///< io::Checkpoint::fingerprint(); empty: not known
  bool allow_other = false;  ///< an adapter of another base is only warned about
  std::string model_type;    ///< of its config.json; empty: not known
  std::string model_class;   ///< its class in transformers, such as "LlamaForCausalLM"; empty: not known
  std::string labels;        ///< the labels of an adapter's classifier, as JSON; empty: it has none

  std::string quantization;  ///< what of the base is packed (models::BaseModel::quantization); empty: nothing
  /// With which options it was packed while it was loaded (config::quantization_settings); empty: it was not, or is packed in its files.
  std::string quantization_settings;
  /// The adapter also undoes a part of what quantising the base has lost (LoftQ), so that it fits only the quantised base.
  bool corrects_quantization = false;
  /// models::BaseModel::plain_weight; null: there are no other weights than the base's own.
  std::function<at::Tensor(const std::string& name)> plain_weight;

  /// Metadata for the weights file of an adapter of this base.
  std::map<std::string, std::string> metadata() const;
};

/// How the base of a stored adapter was quantised: the members of BaseReference.
struct BaseQuantization {
  std::string text;      ///< empty: it was not, or it is not known
  std::string settings;  ///< empty: it was packed in its files, or not at all
  bool is_corrected = false;

  bool operator==(const BaseQuantization&) const = default;
};

/// The fingerprint in the metadata of an adapter's weights file; empty: it has none (PEFT does not write one).
std::string base_fingerprint(const std::map<std::string, std::string>& metadata);

/// How the base of an adapter was quantised; empty: it was not, or it is not known.
std::string base_quantization(const std::map<std::string, std::string>& metadata);

/// BaseReference::corrects_quantization of a stored adapter.
bool corrects_quantization(const std::map<std::string, std::string>& metadata);

BaseQuantization stored_base_quantization(const std::map<std::string, std::string>& metadata);

/// The labels in the metadata; empty: it has none (PEFT does not write them).
std::string stored_label_set(const std::map<std::string, std::string>& metadata);

/// Throws model Error if an adapter with this fingerprint belongs to another base, or warns if the reference allows that. Does nothing
/// if one of the fingerprints is not known.
/// @param where the adapter, for messages.
void require_same_base(const std::string& where, const std::string& fingerprint, const BaseReference& base);

/// Warns if an adapter was trained on a base that was quantised in another way. Does nothing if the metadata does not say what the base
/// was.
/// @param where the adapter, for messages.
void warn_of_other_quantization(const std::string& where, const std::map<std::string, std::string>& metadata, const BaseReference& base);

/// Both of these, for an adapter that a run continues from.
/// @param metadata the adapter's.
void require_base(const std::string& where, const std::map<std::string, std::string>& metadata, const BaseReference& base);

}  // namespace lora::peft
