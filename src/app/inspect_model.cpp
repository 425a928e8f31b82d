#include "inspect_model.h"

#include <algorithm>
#include <array>
#include <map>

#include "inspect_tensors.h"
#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/io/weight_source.h"
#include "lora/models/base_model.h"
#include "lora/models/mapped_model.h"
#include "text_table.h"

namespace lora::app {

namespace {

constexpr std::array<const char*, 9> kShownKeys{"num_hidden_layers",       "hidden_size",         "intermediate_size",
                                                "num_attention_heads",     "num_key_value_heads", "head_dim",
                                                "max_position_embeddings", "vocab_size",          "tie_word_embeddings"};

/// Modules of one pattern and kind.
Json grouped_hosts(const std::vector<std::pair<std::string, std::string>>& hosts, const std::vector<TensorFacts>& tensors) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const TensorFacts& tensor : tensors) {
    shapes.emplace(tensor.name, tensor.shape);
  }
  Json groups = Json::array();
  for (const auto& [name, kind] : hosts) {
    const std::string pattern = name_pattern(name);
    const auto same = std::find_if(groups.begin(), groups.end(), [&](const Json& group) { return group["pattern"] == pattern; });
    if (same != groups.end()) {
      (*same)["count"] = (*same)["count"].get<int64_t>() + 1;
      continue;
    }
    const auto shape = shapes.find(name + ".weight");
    groups.push_back({{"pattern", pattern},
                      {"kind", kind},
                      {"count", 1},
                      {"shape", shape == shapes.end() ? Json(nullptr) : Json(shape->second)}});  // none: a tied head
  }
  return groups;
}

/// The family's own answer: hosts and default targets.
void add_family(const fs::path& folder, const std::vector<TensorFacts>& tensors, Json& facts) {
  const std::unique_ptr<nn::Model> model = models::map_model(folder);
  std::vector<std::pair<std::string, std::string>> hosts;
  for (const nn::Host* host : model->hosts()) {
    hosts.emplace_back(host->name(), host->kind());
  }
  facts["hosts"] = grouped_hosts(hosts, tensors);
  facts["default_target_modules"] = model->default_target_modules();
}

/// Without the family: every matrix might be a module's.
void add_matrices(const std::vector<TensorFacts>& tensors, Json& facts) {
  constexpr std::string_view kEnd = ".weight";
  std::vector<std::pair<std::string, std::string>> hosts;
  for (const TensorFacts& tensor : tensors) {
    if (tensor.shape.size() == 2 && tensor.name.ends_with(kEnd)) {
      hosts.emplace_back(tensor.name.substr(0, tensor.name.size() - kEnd.size()), "?");
    }
  }
  facts["hosts"] = grouped_hosts(hosts, tensors);
  facts["default_target_modules"] = nullptr;
}

/// Quantised weights have other shapes than the family's own.
bool is_known_family(const Json& config, const std::string& model_type) {
  const std::vector<std::string> known = models::known_families();
  return std::find(known.begin(), known.end(), model_type) != known.end() && config.value("quantization_config", Json()).is_null();
}

}  // namespace

Json model_facts(const std::filesystem::path& folder) {
  const Json config = read_json(folder / "config.json", ErrorKind::kModel);
  const std::string model_type = JsonReader(config, (folder / "config.json").string(), ErrorKind::kModel).string("model_type");
  std::vector<TensorFacts> tensors;
  Json files = Json::array();
  int64_t size = 0;
  for (const fs::path& file : io::CheckpointSource(folder).files()) {
    files.push_back(file.filename().string());
    size += static_cast<int64_t>(fs::file_size(file));
    if (file.extension() == ".safetensors") {
      const std::vector<TensorFacts> some = read_tensor_facts(file);
      tensors.insert(tensors.end(), some.begin(), some.end());
    }
  }
  Json shown_config = Json::object();
  for (const char* key : kShownKeys) {
    if (config.contains(key)) {
      shown_config[key] = config[key];
    }
  }
  const bool is_known = is_known_family(config, model_type);
  Json facts{{"kind", "model"},
             {"path", folder.string()},
             {"model_type", model_type},
             {"is_supported", is_known},
             {"config", shown_config},
             {"num_parameters", num_elements(tensors)},
             {"size", size},
             {"files", files},
             {"dtypes", dtype_counts(tensors)},
             {"tensors", grouped_tensors(tensors)}};
  if (is_known) {
    add_family(folder, tensors, facts);
  } else {
    add_matrices(tensors, facts);
  }
  return facts;
}

std::string model_text(const Json& facts, bool) {
  std::string text = "model        " + facts["path"].get<std::string>() + "\nfamily       " + facts["model_type"].get<std::string>() +
                     (facts["is_supported"].get<bool>() ? "" : " (cannot be loaded by this version: another family, or quantised)") + "\n";
  for (const auto& [key, value] : facts["config"].items()) {
    text += "             " + key + " " + value.dump() + "\n";
  }
  text += "size         " + with_thousands(facts["num_parameters"].get<int64_t>()) + " parameters (" + dtype_text(facts["dtypes"]) + "), " +
          human_bytes(facts["size"].get<int64_t>()) + " in " + std::to_string(facts["files"].size()) + " files\n";
  text += "targets      " + (facts["default_target_modules"].is_null() ? "(not known)" : facts["default_target_modules"].dump()) +
          " by default\n\n";
  TextTable table;
  table.add({"modules", "count", "shape", "kind"});
  for (const Json& host : facts["hosts"]) {
    table.add({host["pattern"].get<std::string>(), host["count"].dump(), host["shape"].is_null() ? "tied" : host["shape"].dump(),
               host["kind"].get<std::string>()});
  }
  return text + table.text() + "\n" + grouped_text(facts["tensors"]);
}

}  // namespace lora::app
