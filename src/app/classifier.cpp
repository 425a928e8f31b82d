#include "app/classifier.h"

#include <array>

#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/log.h"
#include "lora/models/stored_labels.h"
#include "lora/peft/adapter_folder.h"
#include "lora/peft/base_reference.h"
#include "lora/peft/file_names.h"

namespace lora::app {

namespace {

/// The name of an architecture's classifier: "LlamaForSequenceClassification" for "LlamaForCausalLM".
std::string classifier_class(const std::string& architecture) {
  constexpr std::array<std::string_view, 5> kEnds{"ForCausalLM", "ForMaskedLM", "ForPreTraining", "LMHeadModel", "Model"};
  for (const std::string_view end : kEnds) {
    if (architecture.ends_with(end)) {
      return architecture.substr(0, architecture.size() - end.size()) + "ForSequenceClassification";
    }
  }
  return architecture;
}

/// The number of rows of the label projection in an adapter's file; 0 if it has none.
int64_t stored_label_count(const std::filesystem::path& folder) {
  const std::map<std::string, at::Tensor> modules = peft::stored_modules(folder);
  for (const char* name : {"score.weight", "classifier.out_proj.weight", "classifier.weight"}) {
    const auto weight = modules.find(name);
    if (weight != modules.end() && weight->second.dim() == 2) {
      return weight->second.size(0);
    }
  }
  return 0;
}

/// The labels in the adapters library's head_config.json; none if the folder has no such file.
std::optional<data::LabelSet> library_labels(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / peft::kHeadConfigFile;
  if (!std::filesystem::exists(file)) {
    return std::nullopt;
  }
  Json config = read_json(file, ErrorKind::kModel);
  const auto ids = config.find("label2id");
  if (ids != config.end() && ids->is_object() && !ids->empty()) {
    Json names = Json::object();
    for (const auto& [name, id] : ids->items()) {
      names[id.dump()] = name;
    }
    config["id2label"] = names;
  }
  return data::read_label_set(JsonReader(config, file.string(), ErrorKind::kModel));
}

data::LabelSet unnamed_labels(int64_t count) {
  data::LabelSet labels = data::numbered_labels(count);
  labels.is_regression = count == 1;
  return labels;
}

/// Decides between num_labels and an id2label of another length. transformers 5 takes the number, without the names; where the head has
/// as many outputs as there are names, that would not load.
void settle_label_count(Json& config, std::optional<int64_t> stored, const std::string& where) {
  const auto number = config.find("num_labels");
  const auto names = config.find("id2label");
  if (number == config.end() || !number->is_number_integer() || names == config.end() || !names->is_object() ||
      *number == names->size()) {
    return;
  }
  const auto num_names = static_cast<int64_t>(names->size());
  log::warn("[" + where + "] num_labels is " + number->dump() + ", but id2label names " + std::to_string(num_names) + " labels: " +
            (stored == num_names ? "using id2label, because the head has as many outputs"
                                 : "using num_labels, without names, as in transformers"));
  config.erase(stored == num_names ? "num_labels" : "id2label");
}

/// Reads the labels from an adapter's metadata. Classes without names are numbered.
data::LabelSet parse_label_set(const std::string& stored, const std::filesystem::path& file) {
  const std::string where = file.string() + ": labels";
  const Json json = parse_json(stored, where, ErrorKind::kModel);
  return data::read_label_set(JsonReader(json, where, ErrorKind::kModel)).value_or(data::LabelSet());
}

}  // namespace

Json classifier_config(Json config, const data::LabelSet& labels) {
  const auto architectures = config.find("architectures");
  if (architectures != config.end() && architectures->is_array()) {
    for (Json& architecture : *architectures) {
      if (architecture.is_string()) {
        architecture = classifier_class(architecture.get<std::string>());
      }
    }
  }
  config.erase("num_labels");
  config.update(data::label_set_json(labels));
  return config;
}

std::optional<data::LabelSet> known_labels(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "config.json";
  Json config = read_json(file, ErrorKind::kModel);
  const std::optional<int64_t> stored = models::read_stored_labels(folder);
  settle_label_count(config, stored, file.string());
  const JsonReader reader(config, file.string(), ErrorKind::kModel);
  const std::optional<data::LabelSet> known = data::read_label_set(reader);
  if (!stored) {
    const bool says_nothing = known && reader.has("id2label") && !reader.has("problem_type") && data::are_numbered(*known);
    return says_nothing ? std::nullopt : known;
  }
  if (!known) {
    return unnamed_labels(*stored);
  }
  if (known->num_labels() != *stored) {
    reader.fail(reader.has("id2label") ? "id2label" : "num_labels", "as many labels as the head has, " + std::to_string(*stored));
  }
  return known;
}

bool names_labels(const std::filesystem::path& folder) {
  return !peft::stored_label_set(peft::adapter_metadata(folder)).empty();
}

std::optional<data::LabelSet> stored_labels(const std::filesystem::path& folder) {
  const std::string stored = peft::stored_label_set(peft::adapter_metadata(folder));
  return stored.empty() ? std::nullopt : std::optional(parse_label_set(stored, peft::adapter_weights_file(folder)));
}

data::LabelSet adapter_labels(const std::filesystem::path& folder, const std::filesystem::path& model_folder) {
  const std::filesystem::path file = peft::adapter_weights_file(folder);
  const int64_t count = stored_label_count(folder);
  if (count == 0) {
    model_error(file.string(),
                "holds no classifier: found task_type SEQ_CLS, expected base_model.model.score.weight or "
                "base_model.model.classifier.weight with it");
  }
  const std::string stored = peft::stored_label_set(peft::adapter_metadata(folder));
  if (stored.empty()) {
    const std::optional<data::LabelSet> of_library = library_labels(folder);
    const std::optional<data::LabelSet> known = of_library ? of_library : known_labels(model_folder);
    return known && known->num_labels() == count ? *known : unnamed_labels(count);
  }
  data::LabelSet labels = parse_label_set(stored, file);
  if (labels.num_labels() != count) {
    model_error(file.string(), "is damaged: found " + counted(labels.num_labels(), "label") + " in its metadata, expected " +
                                   std::to_string(count) + " as in its classifier");
  }
  return labels;
}

std::map<std::string, std::string> classifier_file_names(const std::map<std::string, std::string>& file_names) {
  std::map<std::string, std::string> kept;
  for (const auto& [of_model, of_file] : file_names) {
    const auto root = [](const std::string& name) { return name.substr(0, name.find('.')); };
    const bool is_of_tensorflow = of_file.ends_with(".gamma") || of_file.ends_with(".beta");
    if (root(of_model) == root(of_file) && !is_of_tensorflow) {
      kept.emplace(of_model, of_file);
    }
  }
  return kept;
}

}  // namespace lora::app
