#include "lora/models/checkpoint_layout.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>

#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"
#include "lora/quantization/packed_checkpoint.h"

namespace lora::models {

namespace {

constexpr const char* kHead = "lm_head.weight";
constexpr const char* kTie = "tie_word_embeddings";
constexpr const char* kQuantization = "quantization_config";

/// The names that torch's wrappers give the module that they wrap. A model may itself have a `module`, but not at its top level.
constexpr std::array<std::string_view, 4> kWrappers{"_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.",
                                                    "_forward_module."};
constexpr std::string_view kDataParallel = "module.";

std::string weight_of(const char* module) {
  return std::string(module) + ".weight";
}

std::string body_of(const FamilyFiles& files) {
  const std::string embedding = files.embedding;
  return embedding.substr(0, embedding.find('.'));
}

bool has_prefix(const std::string& name, const FamilyFiles& files) {
  return name.starts_with(body_of(files) + ".");
}

/// Whether a tensor belongs to weights that are quantised in a way that is not known: it is neither floating-point, nor packed in a known
/// format, nor one of the buffers that old files hold (positions, masks).
bool is_unknown(const io::TensorFacts& facts) {
  return !facts.is_packed && !io::is_plain_float(facts.dtype) && facts.dtype != at::kLong && facts.dtype != at::kBool;
}

/// torch's name of the dtype, or else the file's.
std::string shown_dtype(const io::TensorFacts& facts) {
  return facts.dtype == at::ScalarType::Undefined ? printable(facts.stored_as) : c10::toString(facts.dtype);
}

class LayoutReader {
 public:
  LayoutReader(const io::Checkpoint& source, const JsonReader& config)
      : source_(source), config_(config), layout_(layout_without_weights(config)) {}

  CheckpointLayout read() {
    find_names();
    find_tie();
    find_quantization();
    const std::vector<std::string> notes = source_.notes();
    layout_.notes.insert(layout_.notes.end(), notes.begin(), notes.end());
    return std::move(layout_);
  }

 private:
  void add(const std::string& file_name, const std::string& model_name) {
    layout_.file_names.emplace(model_name, file_name);
    layout_.model_names.emplace(file_name, model_name);
  }

  /// A tensor that a file holds twice, with and without a prefix, is read under its full name; the other one is ignored.
  void find_names() {
    std::vector<std::string> wrapped, bare, others;
    for (const std::string& name : source_.names()) {
      const std::string own = layout_.is_known ? layout_.files.name_of(name) : without_wrappers(name);
      own == name ? add(name, name) : others.push_back(name);
    }
    for (const std::string& name : others) {
      const std::string own = layout_.is_known ? layout_.files.name_of(name) : without_wrappers(name);
      const bool is_twice = layout_.file_names.count(own) > 0;
      add(name, is_twice ? name : own);
      if (is_twice) {
        continue;
      }
      if (without_wrappers(name) != name) {
        wrapped.push_back(name);
      }
      if (layout_.is_known && has_prefix(own, layout_.files) && !has_prefix(without_wrappers(name), layout_.files)) {
        bare.push_back(name);
      }
    }
    if (!wrapped.empty()) {
      layout_.notes.push_back("names of tensors have prefixes of torch's wrappers (DataParallel's module., torch.compile's _orig_mod.): " +
                              io::some_names(wrapped) + ". They are read without them.");
    }
    if (!bare.empty() && !layout_.files.is_published_bare) {
      layout_.notes.push_back("names of tensors lack the prefix '" + body_of(layout_.files) + ".': " + io::some_names(bare) +
                              ". They are read as the body of the model.");
    }
  }

  /// Ties as transformers 5 does: by the flag, unless the file holds both weights and they differ; and to the head if it is the only one.
  void find_tie() {
    const auto head = layout_.file_names.find(kHead), embedding = layout_.file_names.find(weight_of(layout_.files.embedding));
    const bool has_head = head != layout_.file_names.end(), has_embedding = embedding != layout_.file_names.end();
    if (!layout_.is_known && !has_head) {
      layout_.is_tied = config_.boolean(kTie, true);
    }
    if (!layout_.is_tied || !has_head) {
      return;
    }
    const std::string table = weight_of(layout_.files.embedding);
    if (!has_embedding) {
      layout_.notes.push_back("holds " + std::string(kHead) + " but no " + table + ": the two are tied and share the head's weight");
      const std::string file_name = head->second;
      layout_.file_names.erase(head);
      layout_.model_names.erase(file_name);
      add(file_name, table);
      return;
    }
    const io::TensorFacts of_head = source_.facts(head->second), of_table = source_.facts(embedding->second);
    const bool is_alike = of_head.stored_as == of_table.stored_as && of_head.shape == of_table.shape;
    const bool is_copy = is_alike && source_.tensor(head->second).equal(source_.tensor(embedding->second));
    layout_.is_tied = is_copy;
    layout_.notes.push_back(is_copy
                                ? std::string(kHead) + " is a copy of " + table + ": they are tied"
                                : std::string(kTie) + " is true, but " + kHead + " differs from " + table +
                                      ": the head keeps its own weight, as in transformers 5. Set tie_word_embeddings to false to say so.");
  }

  void find_quantization() {
    bool has_packed = false;
    for (const auto& [file_name, model_name] : layout_.model_names) {
      const io::TensorFacts facts = source_.facts(file_name);
      has_packed = has_packed || facts.is_packed;
      if (is_unknown(facts)) {
        layout_.unreadable = "'" + printable(file_name, 80) + "' (" + shown_dtype(facts) + ")";
        return;
      }
    }
    if (config_.has(kQuantization) && !has_packed) {
      const Json& section = config_.at(kQuantization);
      const std::string method =
          section.is_object() ? shown(section.value("quant_method", Json("a method without a name"))) : shown(section);
      layout_.notes.push_back(
          "config.json has a quantization_config (" + method +
          "), but the weights are plain numbers: they are used as they are. transformers would quantise them on loading; "
          "remove the key if that is not intended.");
    }
  }

  const io::Checkpoint& source_;
  const JsonReader& config_;
  CheckpointLayout layout_;
};

}  // namespace

std::string without_wrappers(const std::string& file_name) {
  std::string name = file_name;
  while (name.starts_with(kDataParallel) || starts_with_any(name, {kWrappers.begin(), kWrappers.end()})) {
    name = name.substr(name.find('.') + 1);
  }
  for (const std::string_view wrapper : kWrappers) {
    for (size_t at = name.find("." + std::string(wrapper)); at != std::string::npos; at = name.find("." + std::string(wrapper))) {
      name.erase(at + 1, wrapper.size());
    }
  }
  return name;
}

std::string FamilyFiles::name_of(const std::string& file_name) const {
  std::string name = without_wrappers(file_name);
  name = model_name == nullptr ? name : model_name(name);
  const std::vector<std::string> modules = split(body, ' ');
  const bool is_bare = std::find(modules.begin(), modules.end(), name.substr(0, name.find('.'))) != modules.end();
  return is_bare ? body_of(*this) + "." + name : name;
}

const std::string& CheckpointLayout::name_of(const std::string& file_name) const {
  const auto found = model_names.find(file_name);
  return found == model_names.end() ? file_name : found->second;
}

std::map<std::string, std::string> CheckpointLayout::written_names() const {
  std::map<std::string, std::string> names;
  for (const auto& [model_name, file_name] : file_names) {
    // A head that also serves as the embedding is saved as the embedding.
    if (const std::string written = without_wrappers(file_name); written != model_name && written != kHead) {
      names.emplace(model_name, written);
    }
  }
  return names;
}

CheckpointLayout layout_without_weights(const JsonReader& config) {
  CheckpointLayout layout;
  const std::optional<FamilyFiles> known = find_family_files(config.string("model_type", ""));
  layout.is_known = known.has_value();
  layout.files = known.value_or(FamilyFiles{});
  layout.is_tied = !layout.files.is_encoder && config.boolean(kTie, layout.files.ties_by_default);
  return layout;
}

CheckpointLayout read_layout(const io::Checkpoint& source, const JsonReader& config) {
  return LayoutReader(source, config).read();
}

void require_readable(const CheckpointLayout& layout, const JsonReader& config) {
  if (layout.unreadable.empty()) {
    return;
  }
  if (config.has(kQuantization)) {
    model_error(config.where(), std::string(kQuantization) + ": found quantised weights, such as " + layout.unreadable +
                                    ", expected plain ones (float32, bfloat16, float16), or a quant_method that is read: " +
                                    join(quantization::known_quant_methods()) + ". Use the unquantised model.");
  }
  model_error(config.where(), "the weights are quantised: found " + layout.unreadable +
                                  ", expected float32, float16, bfloat16 or float64. Use the unquantised model.");
}

void warn_of_notes(const CheckpointLayout& layout, const std::string& folder) {
  for (const std::string& note : layout.notes) {
    log::warn("[" + folder + "] " + note);
  }
}

Json settled_config(Json config, const CheckpointLayout& layout) {
  const auto flag = config.find(kTie);
  const bool says_tied = flag != config.end() && flag->is_boolean() ? flag->get<bool>() : layout.files.ties_by_default;
  if (layout.is_known && !layout.files.is_encoder && says_tied != layout.is_tied) {
    config[kTie] = layout.is_tied;
  }
  config.erase(kQuantization);
  return config;
}

}  // namespace lora::models
