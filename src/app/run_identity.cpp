#include "app/run_identity.h"

#include <algorithm>
#include <map>

#include "lora/base/file.h"
#include "lora/base/interrupt.h"
#include "lora/base/text.h"

namespace lora::app {

namespace {

using Keys = std::vector<std::string>;

const Keys kLength{"max_steps", "num_train_epochs"};
const Keys kEvaluation{"eval_strategy", "eval_steps", "eval_on_start", "early_stopping_patience"};
/// Keys that only observe a run, or change how the same numbers are computed.
const Keys kWatching{
    "logging_steps",          "save_strategy",    "save_steps", "save_total_limit", "report_to", "profile", "per_device_eval_batch_size",
    "gradient_checkpointing", "optim_state_file", "sample"};

/// Removes keys of a section, which a run.json from elsewhere may lack.
void erase_keys(Json& config, const char* section, const Keys& keys) {
  if (config.contains(section) && config[section].is_object()) {
    for (const std::string& key : keys) {
      config[section].erase(key);
    }
  }
}

/// The config without the keys that do not identify a run. Files count by their content, so that a run can move with its folder.
Json counted_config(const Json& config) {
  Json counted = config;
  counted.erase("output_dir");
  for (const Keys* keys : {&kLength, &kEvaluation, &kWatching}) {
    erase_keys(counted, "training", *keys);
  }
  erase_keys(counted, "data", {"cache_dir"});
  erase_keys(counted, "model", {"path", "tokenizer"});
  erase_keys(counted, "adapter", {"init_from", "base_model_name_or_path"});
  for (const char* set : {"train", "eval"}) {
    if (counted.contains("data") && counted["data"].is_object() && counted["data"].contains(set) && counted["data"][set].is_array()) {
      for (Json& source : counted["data"][set]) {
        source.is_object() ? void(source.erase("path")) : void();
      }
    }
  }
  return counted;
}

/// "/data/train/0/format" → "data.train[0].format"
std::string dotted(const std::string& pointer) {
  std::string path;
  for (const std::string& part : split(pointer.substr(1), '/')) {
    const bool is_index = !part.empty() && std::all_of(part.begin(), part.end(), [](unsigned char c) { return c >= '0' && c <= '9'; });
    path += is_index ? "[" + part + "]" : (path.empty() ? "" : ".") + part;
  }
  return path;
}

std::string shown_or_missing(const Json& flat, const std::string& key) {
  return flat.contains(key) ? shown(flat[key]) : "not set";
}

void add_differences(const Json& there, const Json& here, std::vector<std::string>& found) {
  const Json there_flat = there.flatten(), here_flat = here.flatten();
  std::map<std::string, bool> keys;
  for (const Json* flat : {&there_flat, &here_flat}) {
    for (const auto& [key, value] : flat->items()) {
      keys[key] = true;
    }
  }
  for (const auto& [key, unused] : keys) {
    const bool is_same = there_flat.contains(key) && here_flat.contains(key) && there_flat[key] == here_flat[key];
    if (!is_same) {
      found.push_back(dotted(key) + ": " + shown_or_missing(there_flat, key) + " there, " + shown_or_missing(here_flat, key) + " here");
    }
  }
}

Json section(const Json& run_file, const char* key) {
  return run_file.is_object() && run_file.contains(key) && run_file[key].is_object() ? run_file[key] : Json::object();
}

/// The hashes of one kind of file, by file name.
std::map<std::string, Json> files_of(const Json& hashes, const std::string& what) {
  std::map<std::string, Json> files;
  const Json list = hashes.value(what, Json::object());
  for (const auto& [place, file] : list.items()) {
    const bool has_path = file.is_object() && file.contains("path") && file["path"].is_string();
    files[has_path ? std::filesystem::path(file["path"].get<std::string>()).filename().string() : place] =
        file.is_object() ? file.value("sha256", Json()) : file;
  }
  return files;
}

void add_file_differences(const Json& there, const Json& here, std::vector<std::string>& found) {
  constexpr size_t kNamed = 2;
  for (const auto& [what, name] : {std::pair{"base", "base model"},
                                   {"encoders", "VAE and text encoders"},
                                   {"tokenizer", "tokenizer"},
                                   {"chat_template", "chat template"},
                                   {"init_from", "adapter.init_from"},
                                   {"train", "data.train"},
                                   {"eval", "data.eval"}}) {
    if (there.value(what, Json()) == here.value(what, Json())) {
      continue;
    }
    const std::map<std::string, Json> own = files_of(here, what);
    std::map<std::string, Json> all = files_of(there, what);
    const std::map<std::string, Json> others = all;
    all.insert(own.begin(), own.end());
    std::vector<std::string> names;
    for (const auto& [file, unused] : all) {
      const auto a = own.find(file), b = others.find(file);
      if (a == own.end() || b == others.end() || a->second != b->second) {
        names.push_back(file);
      }
    }
    if (!names.empty()) {
      found.push_back(std::string(name) + ": other content (" + join(names, ", ", kNamed) + ")");
    }
  }
}

std::vector<std::string> differences_of(const Json& run_file, const RunIdentity& identity, const Keys& keys) {
  const Json there = section(section(run_file, "config"), "training"), here = section(identity.config, "training");
  Json own = Json::object(), other = Json::object();
  for (const std::string& key : keys) {
    own["training"][key] = here.value(key, Json());
    other["training"][key] = there.value(key, Json());
  }
  std::vector<std::string> found;
  add_differences(other, own, found);
  return found;
}

}  // namespace

RunIdentity identify_run(const Json& config, const Json& hashes) {
  std::string contents;
  for (const auto& [what, files] : hashes.items()) {
    contents += what;
    for (const auto& [place, file] : files.items()) {
      contents += ":" + (file.is_object() ? file["sha256"] : file).get<std::string>();
    }
  }
  return {sha256(counted_config(config).dump() + contents), hashes, config};
}

std::vector<std::string> differences(const Json& run_file, const RunIdentity& identity) {
  std::vector<std::string> found;
  const Json there = section(run_file, "config");
  if (!there.empty()) {
    add_differences(counted_config(there), counted_config(identity.config), found);
  }
  add_file_differences(section(run_file, "sha256"), identity.hashes, found);
  return found;
}

std::vector<std::string> differences_of_length(const Json& run_file, const RunIdentity& identity) {
  return differences_of(run_file, identity, kLength);
}

std::vector<std::string> differences_of_evaluation(const Json& run_file, const RunIdentity& identity) {
  return differences_of(run_file, identity, kEvaluation);
}

Json hash_files(const std::vector<fs::path>& files) {
  Json hashes = Json::object();
  for (const fs::path& file : files) {
    throw_if_interrupted();
    hashes[file.filename().string()] = sha256_of_file(file, ErrorKind::kModel);
  }
  return hashes;
}

}  // namespace lora::app
