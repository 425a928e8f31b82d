#pragma once
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/io/tensors.h"
#include "support/batches.h"
#include "support/paths.h"
#include "support/single_thread.h"

namespace lora::test {

/// One case of tests/data/llama, families, classification, quantized/training, prompts or bottleneck (scripts/golden/README.md).
struct Golden {
  std::string name;
  std::filesystem::path folder;

  explicit Golden(const std::string& name) : name(name), folder(std::filesystem::path(lora::test::data_folder()) / "llama" / name) {
    for (const char* other : {"families", "classification", "quantized/training", "prompts", "bottleneck"}) {
      if (!std::filesystem::exists(folder)) {
        folder = std::filesystem::path(lora::test::data_folder()) / other / name;
      }
    }
  }

  io::SafetensorsFile tensors() const { return io::SafetensorsFile(folder / "expected.safetensors"); }
  /// The key of the last hidden states that begin with this.
  std::string last_hidden(const std::string& prefix) const {
    const io::SafetensorsFile file = tensors();
    int64_t layer = 1;
    while (!file.contains(prefix + ".hidden." + std::to_string(layer)) || file.contains(prefix + ".hidden." + std::to_string(layer + 1))) {
      ++layer;
    }
    return prefix + ".hidden." + std::to_string(layer);
  }
  Json expected() const { return read_json(folder / "expected.json", ErrorKind::kData); }
  /// The rows of rows.jsonl or eval.jsonl, numbered from 0.
  std::vector<Document> rows(const std::string& file) const {
    std::vector<Document> documents;
    std::ifstream lines(folder / file);
    for (std::string line; std::getline(lines, line);) {
      const Json row = Json::parse(line);
      const auto ids = row["input_ids"].get<std::vector<int32_t>>();
      const auto labels = row.contains("labels") ? row["labels"].get<std::vector<int32_t>>() : ids;
      documents.push_back({ids, labels, static_cast<int64_t>(documents.size())});
      const auto types = row.value("token_type_ids", std::vector<int32_t>{});
      documents.back().second_text = types.empty() ? 0 : std::count(types.begin(), types.end(), 0);
    }
    return documents;
  }
};

/// Every case; those with an adapter first.
inline const std::vector<std::string> kGoldenCases{"gqa", "tied", "llama3", "biases", "odd", "linear", "dynamic", "yarn", "full"};

/// A case of each family besides.
inline const std::vector<std::string> kFamilyCases{
    "qwen2",   "mistral",     "qwen3",    "gemma",           "gemma2", "gemma3_text", "phi3",          "smollm3",  "olmo2",
    "gpt2",    "gpt2_scales", "gpt_neox", "gpt_neox_serial", "falcon", "falcon_new",  "falcon_serial", "stablelm", "stablelm_parallel",
    "mixtral", "qwen3_moe"};

/// Sequence classification, of decoders and encoders.
inline const std::vector<std::string> kClassificationCases{"llama_classes",      "qwen2_names",     "gpt2_values",
                                                           "bert_pairs",         "bert_values",     "roberta_classes",
                                                           "distilbert_classes", "modernbert_mean", "modernbert_first"};
inline const std::vector<std::string> kFullClassificationCases{"bert_full"};

/// Those that train every weight.
inline const std::vector<std::string> kFullFamilyCases{"gpt2_full"};

/// Cases about what is trained besides the usual pairs; they have no tensors of the base model.
inline const std::vector<std::string> kTrainedPartsCases{"dora",       "lora_bias",       "bias_all",   "modules_to_save", "token_indices",
                                                         "embeddings", "tied_embeddings", "tied_saved", "drifting",        "loraplus"};

/// Methods that change projections by a formula.
inline const std::vector<std::string> kFormulaCases{"ia3", "vera", "loha", "lokr", "oft", "boft", "hra", "miss", "miss_bat", "randlora"};

/// Methods that train copies of some of the base's weights.
inline const std::vector<std::string> kReplacementCases{"ln_tuning", "trained_tokens", "bitfit"};

/// Some weights of the base, without an adapter.
inline const std::vector<std::string> kSomeWeightsCases{"some_weights"};

/// Bottleneck adapters of the adapters library.
inline const std::vector<std::string> kBottleneckCases{
    "seq_llama", "double_llama", "parallel_llama", "norms_llama",      "double_gpt2",
    "seq_bert",  "double_bert",  "plus_bert",      "post_add_roberta", "parallel_distilbert"};

/// Adapters on a base that bitsandbytes quantised while it was loaded.
inline const std::vector<std::string> kQuantizedCases{"nf4", "nf4_dq", "fp4", "int8", "nf4_dora"};

/// Virtual tokens: prefix tuning, prompt tuning and P-tuning.
inline const std::vector<std::string> kPromptCases{"prefix",       "prefix_projection",   "prefix_gpt2",
                                                   "prefix_llama_classes", "prefix_bert_classes", "prompt",
                                                   "prompt_gemma", "prompt_gpt2",         "prompt_bert_classes",
                                                   "prompt_roberta_classes", "p_tuning",  "p_tuning_lstm"};

}  // namespace lora::test
