#include "app/run_parts.h"

#include <algorithm>

#include "app/adapter_templates.h"
#include "app/companions.h"
#include "app/pipeline_encoders.h"
#include "app/pipeline_result.h"
#include "app/run_identity.h"
#include "lora/base/bundle.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/peft/adapter_folder.h"
#include "lora/peft/file_names.h"

namespace lora::app {

namespace {

/// Copies the files that accompany the weights of a fully fine-tuned model.
void copy_model_companions(const config::RunConfig& config, const fs::path& folder) {
  copy_companions(is_folder(config.model.tokenizer) ? config.model.tokenizer : config.model.tokenizer.parent_path(), folder);
  const fs::path generation = config.model.path / "generation_config.json";
  if (is_file(generation)) {
    write_file_atomically(folder / generation.filename(), read_file(generation, ErrorKind::kModel));
  }
}

Json data_files(const data::Dataset* dataset) {
  Json files = Json::array();
  if (dataset != nullptr) {
    for (const data::SourceFile& file : dataset->files) {
      files.push_back({{"path", file.path}, {"sha256", file.sha256}});
    }
  }
  return files;
}

/// What an adapter is read from: its config and weights, and what some methods have in files of their own.
std::vector<fs::path> adapter_files(const fs::path& adapter) {
  std::vector<fs::path> files{adapter / peft::kAdapterConfigFile, peft::adapter_weights_file(adapter)};
  for (const char* name : {peft::kPromptEncoderFile, peft::kHeadConfigFile, peft::kHeadWeightsFile, peft::kHeadPickleFile}) {
    if (fs::exists(adapter / name)) {
      files.push_back(adapter / name);
    }
  }
  return files;
}

bool has_images(const std::vector<data::SourceOptions>& sources) {
  return std::any_of(sources.begin(), sources.end(), [](const auto& source) { return source.format == data::RowFormat::kImages; });
}

Json hash_shared_files(const RunParts& parts) {
  Json hashes;
  hashes["base"] = hash_files(parts.base.files);
  hashes["tokenizer"] = parts.tokenizer ? hash_files(parts.tokenizer->files()) : Json::object();
  if (parts.prompts.chat_template) {
    hashes["chat_template"] = parts.prompts.chat_template->identity();
  }
  hashes["init_from"] = Json::object();
  hashes["train"] = data_files(&parts.rows->train);
  hashes["eval"] = data_files(parts.rows->eval_set());
  return hashes;
}

}  // namespace

void RunParts::save(const config::RunConfig& config, const fs::path& folder) const {
  method->save(folder);
  if (!config.adapter && base.component.empty()) {
    copy_model_companions(config, folder);
  }
  prompts.save(folder);
  if (!config.adapter && prompts.chat_template != nullptr && !prompts.is_models_own) {
    end_generation_at_turns(folder);
  }
}

void RunParts::save_result(const config::RunConfig& config) const {
  save(config, config.output_dir);
  if (!config.adapter && !base.component.empty()) {
    write_other_components(config.model, base.component, config.output_dir);
  }
}

Json RunHashes::of(const config::RunConfig& config) {
  if (shared_.is_null()) {
    shared_ = hash_shared_files(parts_);
    if (has_images(config.data.train) || has_images(config.data.eval)) {
      shared_["encoders"] = encoder_hashes(config.model);
    }
  }
  Json all = shared_;
  if (config.adapter && config.adapter->init_from) {
    all["init_from"] = hash_files(adapter_files(*config.adapter->init_from));
  }
  return all;
}

}  // namespace lora::app
