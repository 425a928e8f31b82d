// GGUF adapters for llama.cpp: A and B under the base's names in GGUF, and one alpha for all modules, from which llama.cpp
// computes each scale as alpha / rank of the tensor, however the adapter was trained. So alpha is the one that gives most
// modules their scale (for rsLoRA scale · rank, not lora_alpha), and lora_B of the others is multiplied by the quotient.
// Rows of B are reordered in the same way as llama.cpp's converter reorders the rows of the base weight.
#include <ATen/ATen.h>

#include <array>

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/regex.h"
#include "lora/base/text.h"
#include "lora/io/gguf.h"
#include "peft/format_entry.h"
#include "peft/update_forms.h"

namespace lora::peft {

namespace {

/// One kind of module, with transformers' name and ggml's. {} stands for the number of the layer.
struct ModuleName {
  std::string_view transformers;
  std::string_view ggml;
  /// The key in config.json of the number of attention heads whose rows are reordered; "": rows are not reordered.
  const char* heads;
};

constexpr std::array<ModuleName, 9> kLlamaModules{{
    {"model.layers.{}.self_attn.q_proj", "blk.{}.attn_q", "num_attention_heads"},
    {"model.layers.{}.self_attn.k_proj", "blk.{}.attn_k", "num_key_value_heads"},
    {"model.layers.{}.self_attn.v_proj", "blk.{}.attn_v", ""},
    {"model.layers.{}.self_attn.o_proj", "blk.{}.attn_output", ""},
    {"model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate", ""},
    {"model.layers.{}.mlp.up_proj", "blk.{}.ffn_up", ""},
    {"model.layers.{}.mlp.down_proj", "blk.{}.ffn_down", ""},
    {"model.embed_tokens", "token_embd", ""},
    {"lm_head", "output", ""},
}};

/// A family: its model_type in config.json, its architecture in GGUF, and its modules. Only families whose files have been
/// compared with llama.cpp's converter are listed; it has one class for both of these.
struct Architecture {
  const char* model_type;
  const char* name;
  const std::array<ModuleName, 9>* modules;
};
constexpr std::array<Architecture, 2> kArchitectures{{{"llama", "llama", &kLlamaModules}, {"mistral", "llama", &kLlamaModules}}};

const Architecture& architecture_of(const BaseFacts& base) {
  if (!base.is_known()) {
    model_error("--model",
                "GGUF needs the base model, for its names and the order of its attention heads' rows. Give the folder with config.json.");
  }
  const std::string type = JsonReader(base.config, base.name + "/config.json", ErrorKind::kModel).string("model_type");
  std::vector<std::string> known;
  for (const Architecture& architecture : kArchitectures) {
    known.emplace_back(architecture.model_type);
    if (type == architecture.model_type) {
      return architecture;
    }
  }
  model_error(base.name + "/config.json",
              "this model_type cannot be converted to GGUF: found '" + type + "', expected one of " + join(known));
}

struct GgmlName {
  std::string name;
  const ModuleName* kind = nullptr;
};

/// `pattern` with `layer` for {}.
std::string filled_in(std::string_view pattern, const std::string& layer) {
  std::string name(pattern);
  const size_t place = name.find("{}");
  return place == std::string::npos ? name : name.replace(place, 2, layer);
}

/// ggml's name of a module, or an empty one if it has none.
GgmlName ggml_name(const std::string& module, const Architecture& architecture) {
  static const Regex kLayer(R"(model\.layers\.(?<layer>\d+)\.)", "gguf", ErrorKind::kModel);
  const std::string layer = kLayer.group_at_start(module, "layer");
  for (const ModuleName& kind : *architecture.modules) {
    if (filled_in(kind.transformers, layer) == module) {
      return {filled_in(kind.ggml, layer), &kind};
    }
  }
  return {};
}

/// The rows of each head, from transformers' order for rotation [first half, second half] to llama.cpp's pairs. This is the order
/// of its converter for the weights of q_proj and k_proj.
Tensor rows_as_pairs(const Tensor& B_OR, const ModuleName& kind, const BaseFacts& base) {
  const JsonReader config(base.config, base.name + "/config.json", ErrorKind::kModel);
  const int64_t heads = config.has(kind.heads) ? config.integer(kind.heads) : config.integer("num_attention_heads");
  const int64_t outputs = B_OR.size(0);
  if (heads < 1 || outputs % (2 * heads) != 0) {
    config.fail(kind.heads, "a number of heads that divides the module's " + std::to_string(outputs) + " outputs into even parts");
  }
  return B_OR.view({heads, 2, outputs / heads / 2, B_OR.size(1)}).transpose(1, 2).reshape(B_OR.sizes());
}

void add_tensors(const LowRankUpdate& update, const BaseFacts& base, std::vector<io::NamedTensor>& tensors) {
  const GgmlName found = ggml_name(update.module, architecture_of(base));
  const bool reorders = found.kind->heads[0] != '\0';
  const Tensor B_OR = update.B_OR.contiguous();
  // llama.cpp looks up A of an embedding by token, so its rows are tokens.
  tensors.push_back({found.name + ".weight.lora_a", update.is_embedding() ? update.A_RI.t() : update.A_RI});
  tensors.push_back({found.name + ".weight.lora_b", reorders ? rows_as_pairs(B_OR, *found.kind, base) : B_OR});
}

}  // namespace

std::string gguf_refusal(const LowRankUpdate& update, const BaseFacts& base) {
  const GgmlName found = ggml_name(update.module, architecture_of(base));
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
