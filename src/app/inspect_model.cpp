#include "app/inspect_model.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "app/inspect_tensors.h"
#include "app/text_table.h"
#include "lora/base/counted.h"
#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/io/checkpoint.h"
#include "lora/models/checkpoint_layout.h"
#include "lora/models/mapped_model.h"
#include "lora/models/open_checkpoint.h"

namespace lora::app {

namespace {

constexpr std::array<const char*, 9> kShownKeys{"num_hidden_layers",       "hidden_size",         "intermediate_size",
                                                "num_attention_heads",     "num_key_value_heads", "head_dim",
                                                "max_position_embeddings", "vocab_size",          "tie_word_embeddings"};

/// The modules, with those of one pattern and kind as one entry.
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
                      {"shape", shape == shapes.end() ? Json(nullptr) : Json(shape->second)}});  // null: a tied head
  }
  return groups;
}

using Modules = std::vector<std::pair<std::string, std::string>>;  ///< names and kinds

/// Every matrix that might belong to a module.
Modules matrices(const std::vector<TensorFacts>& tensors, const std::string& kind) {
  constexpr std::string_view kEnd = ".weight";
  Modules modules;
  for (const TensorFacts& tensor : tensors) {
    if (tensor.shape.size() == 2 && tensor.name.ends_with(kEnd)) {
      modules.emplace_back(tensor.name.substr(0, tensor.name.size() - kEnd.size()), kind);
    }
  }
  return modules;
}

/// Adds what the family knows, its hosts and default targets, and then weights in the file that belong to other heads.
void add_family(const fs::path& folder, const std::vector<TensorFacts>& tensors, Json& facts) {
  const std::unique_ptr<nn::Model> model = models::map_model(folder);
  Modules modules;
  std::set<std::string> known;
  for (const nn::Host* host : model->hosts()) {
    modules.emplace_back(host->name(), host->kind());
    for (const nn::BaseWeight& weight : host->weights()) {
      known.insert(weight.parameter().name);
    }
  }
  for (const auto& [name, kind] : matrices(tensors, "of another head")) {
    if (known.count(name + ".weight") == 0) {
      modules.emplace_back(name, kind);
    }
  }
  facts["hosts"] = grouped_hosts(modules, tensors);
  facts["default_target_modules"] = model->body->default_target_modules();
}

/// The tensors of a model, under the names of the loaded model.
std::vector<TensorFacts> read_tensors(const io::Checkpoint& source, const models::CheckpointLayout& layout) {
  std::vector<TensorFacts> tensors;
  for (const std::string& name : source.names()) {
    const io::TensorFacts facts = source.facts(name);
    tensors.push_back({layout.name_of(name), facts.stored_as, facts.shape, facts.bytes});
  }
  return tensors;
}

}  // namespace

Json model_facts(const std::filesystem::path& folder) {
  const models::ModelConfig model_config = models::read_model_config(folder);
  const Json& config = model_config.json;
  const std::string model_type = model_config.reader().string("model_type");
  const std::unique_ptr<io::Checkpoint> source = models::open_checkpoint(folder, model_config);
  const models::CheckpointLayout layout = models::read_layout(*source, model_config.reader());
  const std::vector<TensorFacts> tensors = read_tensors(*source, layout);
  Json files = Json::array();
  int64_t size = 0;
  for (const fs::path& file : source->files()) {
    files.push_back(file.filename().string());
    size += static_cast<int64_t>(fs::file_size(file));
  }
  Json shown_config = Json::object();
  for (const char* key : kShownKeys) {
    if (config.contains(key)) {
      shown_config[key] = config[key];
    }
  }
  const bool is_known = layout.is_known && layout.unreadable.empty();  // unknown packed weights have other shapes
  Json facts{{"kind", "model"},
             {"path", folder.string()},
             {"model_type", model_type},
             {"is_supported", is_known},
             {"config", shown_config},
             {"notes", layout.notes},
             {"num_parameters", num_parameters(tensors)},
             {"size", size},
             {"files", files},
             {"dtypes", dtype_counts(tensors)},
             {"tensors", grouped_tensors(tensors)}};
  if (is_known) {
    add_family(folder, tensors, facts);
  } else {
    facts["hosts"] = grouped_hosts(matrices(tensors, "?"), tensors);
    facts["default_target_modules"] = nullptr;
  }
  return facts;
}

std::string model_text(const Json& facts, bool) {
  std::string text = "model        " + facts["path"].get<std::string>() + "\nfamily       " + facts["model_type"].get<std::string>() +
                     (facts["is_supported"].get<bool>() ? "" : " (cannot be loaded by this version: unknown family, or quantised)") + "\n";
  for (const auto& [key, value] : facts["config"].items()) {
    text += "             " + key + " " + value.dump() + "\n";
  }
  text += "size         " + with_thousands(facts["num_parameters"].get<int64_t>()) + " parameters (" + dtype_text(facts["dtypes"]) + "), " +
          human_bytes(facts["size"].get<int64_t>()) + " in " + counted(static_cast<int64_t>(facts["files"].size()), "file") + "\n";
  text += "targets      " + (facts["default_target_modules"].is_null() ? "(not known)" : facts["default_target_modules"].dump()) +
          " by default\n";
  for (const Json& note : facts["notes"]) {
    text += "note         " + note.get<std::string>() + "\n";
  }
  text += "\n";
  TextTable table;
  table.add({"modules", "count", "shape", "kind"});
  for (const Json& host : facts["hosts"]) {
    table.add({host["pattern"].get<std::string>(), host["count"].dump(), host["shape"].is_null() ? "tied" : host["shape"].dump(),
               host["kind"].get<std::string>()});
  }
  return text + table.text() + "\n" + grouped_text(facts["tensors"]);
}

}  // namespace lora::app
