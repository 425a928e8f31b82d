// Every companion reads what lora-train writes: each kind of adapter with each program.
#include <gtest/gtest.h>

#include "app/inspect_adapter.h"
#include "gguf_adapter.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "trained_adapter.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;

/// What lora-convert finds in an adapter that a format cannot hold; null: the format holds it.
struct Refused {
  const char* mlx = nullptr;
  const char* kohya = nullptr;
  const char* gguf = nullptr;
  const char* vllm = nullptr;
};

constexpr Refused by_all(const char* found) {
  return {found, found, found, found};
}

struct Kind {
  const char* adapter;      ///< next to r and lora_alpha
  const char* base;         ///< "untied", "tied", or "" for both
  bool is_combined = true;  ///< lora-merge --combine takes it
  Refused refused = {};
};

const char* const kRows = "rows of trained tokens (trainable_token_indices): model.embed_tokens.weight";
const char* const kBothRows = "rows of trained tokens (trainable_token_indices): lm_head.weight, model.embed_tokens.weight";
const char* const kWholeEmbedding = "tensors saved whole (modules_to_save, bias): model.embed_tokens.weight";
const char* const kWholeHead = "tensors saved whole (modules_to_save, bias): lm_head.weight";
const char* const kEmbeddingsInKohya = "updates of embeddings (the format is for linear modules and convolutions): model.embed_tokens";
const char* const kTiedInMlx =
    "updates of embeddings, which MLX would update together with a tied head (give an untied base with --model): model.embed_tokens";
const char* const kTiedInGguf =
    "updates of embeddings and head that the base ties (llama.cpp has one tensor for both): lm_head, model.embed_tokens";
#define DORA "DoRA magnitudes (lora-convert --bake --r R --model D turns them into plain LoRA): "
const char* const kDora = DORA "model.layers.0.self_attn.q_proj, model.layers.1.self_attn.q_proj";
const char* const kDoraOfThree = DORA "model.embed_tokens, model.layers.0.self_attn.q_proj, … (1 more)";

/// Every option of `adapter` that changes what is written.
const std::vector<Kind> kKinds{
    {R"("target_modules": ["q_proj", "v_proj"])", ""},
    {R"("target_modules": "all-linear", "use_rslora": true)", "untied"},
    {R"("target_modules": ".*layers\\.1\\.mlp\\.(up|down)_proj")", "untied"},
    {R"("target_modules": ["q_proj", "up_proj"], "rank_pattern": {"up_proj": 3}, "alpha_pattern": {"layers.1.*q_proj": 5})", "untied"},
    {R"("target_modules": ["q_proj", "k_proj"], "layers_to_transform": [1], "layers_pattern": "layers")", "untied"},
    {R"("target_modules": "all-linear", "exclude_modules": ["down_proj"], "init_lora_weights": "gaussian")", "untied"},
    {R"("target_modules": ["o_proj"], "init_lora_weights": "orthogonal")", "untied"},
    {R"("target_modules": ["o_proj"], "init_lora_weights": false)", "untied"},
    {R"("target_modules": ["q_proj", "down_proj"], "init_lora_weights": "pissa")", "untied"},
    {R"("target_modules": ["q_proj"], "init_lora_weights": "pissa_niter_4")", "untied"},
    {R"("target_modules": ["q_proj", "down_proj"], "init_lora_weights": "olora", "use_rslora": true)", "untied"},
    {R"("target_modules": ["q_proj"], "init_lora_weights": "pissa", "use_dora": true)", "untied", false, {nullptr, kDora, kDora, kDora}},
    {R"("target_modules": ["q_proj", "embed_tokens"], "use_dora": true)",
     "untied",
     false,
     {"updates of embeddings with DoRA (MLX has one magnitude per token): model.embed_tokens",
      DORA "model.layers.0.self_attn.q_proj, model.layers.1.self_attn.q_proj; "
           "updates of embeddings (the format is for linear modules and convolutions): model.embed_tokens",
      kDoraOfThree, kDoraOfThree}},
    {R"("target_modules": ["k_proj"], "lora_bias": true)", "untied", false,
     by_all("biases of lora_B (lora_bias): model.layers.0.self_attn.k_proj, model.layers.1.self_attn.k_proj")},
    {R"("target_modules": ["q_proj"], "bias": "lora_only")", "untied", false,
     by_all("tensors saved whole (modules_to_save, bias): model.layers.0.self_attn.q_proj.bias, model.layers.1.self_attn.q_proj.bias")},
    {R"("target_modules": ["q_proj"], "bias": "all", "modules_to_save": ["norm"])", "untied", false,
     by_all("tensors saved whole (modules_to_save, bias): model.layers.0.input_layernorm.weight, "
            "model.layers.0.post_attention_layernorm.weight, … (11 more)")},
    {R"("target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"])", "untied", false,
     by_all("tensors saved whole (modules_to_save, bias): lm_head.weight, model.embed_tokens.weight")},
    {R"("target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"])", "", false, by_all(kWholeEmbedding)},
    {R"("target_modules": ["q_proj"], "modules_to_save": ["lm_head"])", "", false, by_all(kWholeHead)},
    {R"("target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": true)", "tied", false,
     by_all("tensors saved whole (modules_to_save, bias): model.embed_tokens.weight; "
            "base tensors that PEFT saved with the adapter (a resized vocabulary): lm_head.weight")},
    {R"("target_modules": ["q_proj"], "modules_to_save": ["lm_head"], "ensure_weight_tying": true)", "tied", false,
     by_all("tensors saved whole (modules_to_save, bias): lm_head.weight; "
            "base tensors that PEFT saved with the adapter (a resized vocabulary): model.embed_tokens.weight")},
    {R"("target_modules": ["q_proj"], "modules_to_save": ["mlp"])", "untied", false,
     by_all("tensors saved whole (modules_to_save, bias): model.layers.0.mlp.down_proj.weight, model.layers.0.mlp.gate_proj.weight, "
            "… (4 more)")},
    {R"("target_modules": ["q_proj"], "trainable_token_indices": [3, 1])", "", false, by_all(kRows)},
    {R"("target_modules": ["q_proj"], "trainable_token_indices": {"lm_head": [2], "embed_tokens": [3, 1]})", "", false, by_all(kBothRows)},
    {R"("target_modules": ["q_proj"], "trainable_token_indices": [3, 1], "ensure_weight_tying": true)", "tied", false, by_all(kRows)},
    {R"("target_modules": ["q_proj", "embed_tokens", "lm_head"])", "untied", true, {nullptr, kEmbeddingsInKohya, nullptr, nullptr}},
    {R"("target_modules": ["q_proj", "embed_tokens", "lm_head"])", "tied", true, {kTiedInMlx, kEmbeddingsInKohya, kTiedInGguf, nullptr}},
    {R"("target_modules": ["embed_tokens"], "ensure_weight_tying": true)",
     "tied",
     true,
     {kTiedInMlx, kEmbeddingsInKohya, kTiedInGguf, nullptr}},
};
#undef DORA

/// The loss with the adapter after lora-convert to `format` and, if that is not PEFT's folder, back.
double converted_loss(const fs::path& base, const fs::path& folder, const fs::path& scratch, const std::string& format) {
  const fs::path output = scratch / (format + (format == "kohya" ? ".safetensors" : ""));
  convert_to(format, folder, output, base);
  if (format == "peft" || format == "vllm") {
    return loss_with(base, output);
  }
  const fs::path back = scratch / (format + "_back");
  format == "gguf" ? write_peft_from_gguf(output, base, back) : convert_to("peft", output, back, base);
  return loss_with(base, back);
}

/// lora-convert to a format that cannot hold the adapter names what it found, and writes nothing.
void expect_conversion_refused(const fs::path& base, const fs::path& folder, const fs::path& output, const std::string& format,
                               const std::string& program, const std::string& found) {
  const std::string text = expect_error(ErrorKind::kModel, {}, [&] { convert_to(format, folder, output, base); });
  EXPECT_EQ(text, "[" + (folder / "adapter_model.safetensors").string() + "] cannot be converted to " + program + ": found " + found +
                      ". Use --drop-unsupported to leave them out.");
  EXPECT_FALSE(fs::exists(output)) << program;
}

double combined_loss(const fs::path& base, const fs::path& folder, const fs::path& output) {
  app::MergeRequest request;
  request.adapters = {folder.string(), folder.string()};
  request.weights = {0.25, 0.75};
  request.combine = "cat";
  request.output = output;
  app::merge_command(request);
  return loss_with(base, output);
}

void expect_read_by_all(const Kind& kind, const std::string& base_name) {
  const TemporaryFolder scratch;
  const fs::path base = kStored / base_name;
  const fs::path folder = scratch / "adapter";
  Json section = Json::parse("{" + std::string(kind.adapter) + "}");
  section.update({{"r", 2}, {"lora_alpha", 3}});
  const double expected = train_and_save(section, base, folder);
  constexpr double kTolerance = 1e-5;

  EXPECT_NEAR(loss_with(base, folder), expected, kTolerance) << "lora-eval, lora-generate";
  EXPECT_NEAR(continued_loss(base, folder), expected, kTolerance) << "lora-train with init_from";
  merge_into(base, folder, scratch / "merged");
  EXPECT_NEAR(loss_of(*load_small(scratch / "merged").model), expected, kTolerance) << "lora-merge";
  EXPECT_FALSE(app::adapter_facts(folder)["modules"].empty()) << "lora-inspect";
  EXPECT_NEAR(converted_loss(base, folder, scratch.path(), "peft"), expected, kTolerance) << "lora-convert --to peft";
  struct Format {
    const char* name;
    const char* program;
    const char* refused;
  };
  const Refused& refused = kind.refused;
  for (const Format& format : {Format{"mlx", "MLX", refused.mlx}, Format{"kohya", "kohya's format", refused.kohya},
                               Format{"gguf", "GGUF", refused.gguf}, Format{"vllm", "vLLM", refused.vllm}}) {
    if (format.refused == nullptr) {
      EXPECT_NEAR(converted_loss(base, folder, scratch.path(), format.name), expected, kTolerance) << "lora-convert --to " << format.name;
    } else {
      expect_conversion_refused(base, folder, scratch / format.name, format.name, format.program, format.refused);
    }
  }
  if (kind.is_combined) {
    EXPECT_NEAR(combined_loss(base, folder, scratch / "combined"), expected, kTolerance) << "lora-merge --combine";
  }
}

TEST(EveryCompanion, ReadsWhatIsTrained) {
  for (const Kind& kind : kKinds) {
    for (const std::string base : {"untied", "tied"}) {
      if (*kind.base != '\0' && base != kind.base) {
        continue;
      }
      SCOPED_TRACE(base + ": " + kind.adapter);
      try {
        expect_read_by_all(kind, base);
      } catch (const Error& error) {
        ADD_FAILURE() << error.what();
      }
    }
  }
}

}  // namespace
}  // namespace lora::test
