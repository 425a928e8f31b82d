// GGUF adapters for llama.cpp: A and B under the base's names in GGUF, and one alpha for all modules, from which llama.cpp
// computes each scale as alpha / rank of the tensor, however the adapter was trained. So alpha is the one that gives most
// modules their scale (for rsLoRA scale · rank, not lora_alpha), and lora_B of the others is multiplied by the quotient.
// Rows of B are reordered in the same way as llama.cpp's converter reorders the rows of the base weight.
#include <ATen/ATen.h>

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/io/gguf.h"
#include "lora/io/gguf_architecture.h"
#include "peft/format_entry.h"
#include "peft/update_forms.h"

namespace lora::peft {

namespace {

JsonReader config_of(const BaseFacts& base) {
  return {base.config, base.name + "/config.json", ErrorKind::kModel};
}

const io::GgufArchitecture& architecture_of(const BaseFacts& base) {
  if (!base.is_known()) {
    model_error("--model",
                "GGUF needs the base model, for its names and the order of its attention heads' rows. Give the folder with config.json.");
  }
  const std::string type = config_of(base).string("model_type");
  if (const io::GgufArchitecture* const found = io::gguf_architecture_of(type)) {
    return *found;
  }
  std::vector<std::string> known;
  for (const io::GgufArchitecture& architecture : io::gguf_architectures()) {
    known.emplace_back(architecture.model_type);
  }
  model_error(base.name + "/config.json",
              "this model_type cannot be converted to GGUF: found '" + type + "', expected one of " + join(known));
}

/// The heads of a base whose rows are reordered.
io::GgufHeads heads_of(const BaseFacts& base) {
  const JsonReader config = config_of(base);
  const int64_t heads = config.integer("num_attention_heads");
  if (config.string("model_type") == "falcon") {
    const bool is_new = config.boolean("new_decoder_architecture", false);
    return {heads, is_new ? config.integer("num_kv_heads", heads) : config.boolean("multi_query", true) ? 1 : heads};
  }
  return {heads, config.integer("num_key_value_heads", heads)};
}

/// The rows of B in llama.cpp's order, which is that of its converter for the weights.
Tensor reordered_rows(const Tensor& B_OR, const io::GgufModule& kind, const BaseFacts& base) {
  if (kind.rows == io::GgufRows::kSame) {
    return B_OR;
  }
  const io::GgufHeads heads = heads_of(base);
  const int64_t outputs = B_OR.size(0);
  const bool is_of_keys = kind.rows == io::GgufRows::kKeyPairs, is_fused = kind.rows == io::GgufRows::kFused;
  const int64_t count = is_of_keys ? heads.key_heads : heads.heads;
  if (!is_fused && (count < 1 || outputs % (2 * count) != 0)) {
    const JsonReader config = config_of(base);
    config.fail(is_of_keys && config.has("num_key_value_heads") ? "num_key_value_heads" : "num_attention_heads",
                "a number of heads that divides the module's " + std::to_string(outputs) + " outputs into even parts");
  }
  const std::vector<int64_t> rows = io::gguf_rows(kind.rows, heads, outputs, base.name + "/config.json");
  return at::empty_like(B_OR).index_copy_(0, at::tensor(rows, at::kLong), B_OR);
}

void add_tensors(const LowRankUpdate& update, const BaseFacts& base, std::vector<io::NamedTensor>& tensors) {
  const io::GgufName found = io::to_ggml_name(architecture_of(base), update.module);
  // llama.cpp looks up A of an embedding by token, so its rows are tokens.
  tensors.push_back({found.name + ".weight.lora_a", update.is_embedding() ? update.A_RI.t() : update.A_RI});
  tensors.push_back({found.name + ".weight.lora_b", reordered_rows(update.B_OR.contiguous(), *found.kind, base)});
}

}  // namespace

std::string gguf_refusal(const LowRankUpdate& update, const BaseFacts& base) {
  const io::GgufName found = io::to_ggml_name(architecture_of(base), update.module);
  if (found.kind == nullptr) {
    return "modules without a name in GGUF";
  }
  const bool is_tied = update.is_embedding() || update.module == "lm_head";
  return is_tied && base.ties_embeddings() ? "embeddings and head that the base ties (llama.cpp has one tensor for both)" : "";
}

void write_gguf_adapter(const fs::path& file, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options) {
  const double alpha = commonest_plain_alpha(adapter.low_rank());
  std::vector<LowRankUpdate> updates;
  for (const LowRankUpdate& update : adapter.low_rank()) {
    updates.push_back(plain_alpha(update) == alpha ? update : with_scale(update, alpha / static_cast<double>(update.rank())));
  }
  std::vector<io::NamedTensor> tensors;
  for (const LowRankUpdate& update : rounded(std::move(updates), options.dtype)) {
    add_tensors(update, base, tensors);
  }
  io::GgufKeys keys{{"general.architecture", architecture_of(base).name},
                    {"general.type", "adapter"},
                    {"adapter.type", "lora"},
                    {"adapter.lora.alpha", static_cast<float>(alpha)}};
  const std::string name = fs::path(base.name).filename().string();
  if (!name.empty()) {
    keys.emplace_back("general.base_model.count", uint32_t{1});
    keys.emplace_back("general.base_model.0.name", name);
  }
  io::write_gguf(file, keys, tensors);
}

}  // namespace lora::peft
