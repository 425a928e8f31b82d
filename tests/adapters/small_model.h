#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "lora/app/convert_command.h"
#include "lora/app/merge_command.h"
#include "lora/base/json.h"
#include "lora/config/command_line.h"
#include "lora/models/base_model.h"
#include "lora/peft/method.h"
#include "lora/train/causal_lm.h"
#include "support/batches.h"
#include "support/paths.h"

namespace lora::test {

/// tests/data/adapters (scripts/golden/stored_adapters.py).
inline const std::filesystem::path kStored = std::filesystem::path(lora::test::data_folder()) / "adapters";
/// How near the losses of stored adapters are to PEFT's.
inline constexpr double kLossTolerance = 2e-6;

inline models::BaseModel load_small(const std::filesystem::path& folder) {
  config::ModelFlags flags;
  flags.model = folder.string();
  flags.device = "cpu";
  return models::load_base_model(config::read_model_flags(flags, {}), 1);
}

/// Mean over the supervised tokens of rows.jsonl there.
inline double loss_of(nn::Model& model) {
  const at::NoGradGuard no_grad;
  std::vector<Document> documents;
  std::ifstream lines(kStored / "rows.jsonl");
  for (std::string line; std::getline(lines, line);) {
    documents.push_back({Json::parse(line)["input_ids"].get<std::vector<int32_t>>(), {}, static_cast<int64_t>(documents.size())});
  }
  return train::token_scores(model, batch_of(documents)).loss_S.to(at::kDouble).mean().item<double>();
}

/// What the companions compute with the adapter in `folder`.
inline double loss_with(const std::filesystem::path& base, const std::filesystem::path& folder) {
  const models::BaseModel model = load_small(base);
  peft::MethodOptions options = config::read_adapter_folder(folder);
  options->keeps_base = true;
  const auto method = peft::attach_adapter(options, *model.model, "base", 0);
  return loss_of(*model.model);
}

/// lora-merge of the adapter, into `output`.
inline void merge_into(const std::filesystem::path& base, const std::filesystem::path& folder, const std::filesystem::path& output) {
  app::MergeRequest request;
  request.model = base.string();
  request.adapters = {folder.string()};
  request.output = output;
  request.device = "cpu";
  app::merge_command(request);
}

/// lora-convert of the adapter. @param base the model's folder; empty: not known.
inline void convert_to(const std::string& format, const std::filesystem::path& adapter, const std::filesystem::path& output,
                       const std::filesystem::path& base = {}) {
  app::ConvertRequest request;
  request.adapter = adapter;
  request.to = format;
  request.output = output;
  request.model = base.string();
  app::convert_command(request);
}

inline bool is_tied(const std::filesystem::path& model) {
  return read_json(model / "config.json", ErrorKind::kModel)["tie_word_embeddings"].get<bool>();
}

}  // namespace lora::test
