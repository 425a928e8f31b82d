// Whole GGUF files, with mixed blocks, tokenizer and chat template, as llama.cpp's converter writes them (scripts/golden/gguf_models.py).
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include "lora/base/file.h"
#include "lora/io/tensors.h"
#include "lora/models/base_model.h"
#include "lora/models/gguf_model.h"
#include "lora/models/open_checkpoint.h"
#include "lora/tokenizer/chat_template.h"
#include "lora/tokenizer/tokenizer.h"
#include "logits_of.h"
#include "support/batches.h"
#include "support/paths.h"
#include "support/tensors.h"

namespace lora::models {
namespace {

class GgufFiles : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { add_gguf_model(file_); }
  Json expected() const { return read_json(base_ + ".expected.json", ErrorKind::kModel); }

  std::string base_ = (test::kData / "quantized/gguf_models" / GetParam()).string();
  fs::path file_ = base_ + ".gguf";
};

TEST_P(GgufFiles, LogitsAreThoseOfTransformers) {
  ModelOptions options;
  options.path = file_;
  options.device = "cpu";
  options.dtype = ComputeDtype::kFloat32;
  const BaseModel base = load_base_model(options, 0);
  const io::SafetensorsFile golden(base_ + ".expected.safetensors");
  const at::Tensor logits = logits_of(base, golden.tensor("input_ids"));
  const at::Tensor reference = golden.tensor("logits");
  const double largest = reference.abs().max().item<double>();
  test::expect_close(logits / largest, reference / largest, 1e-5, GetParam());
  EXPECT_FALSE(base.quantization.empty());
}

TEST_P(GgufFiles, ConfigIsTheModels) {
  const Json golden = expected()["config"], config = read_model_config(file_).json;
  EXPECT_EQ(config["dtype"], "bfloat16");
  for (const char* key :
       {"model_type", "vocab_size", "hidden_size", "n_embd", "num_hidden_layers", "n_layer", "num_attention_heads", "n_head",
        "num_key_value_heads", "head_dim", "intermediate_size", "max_position_embeddings", "n_positions", "rms_norm_eps",
        "tie_word_embeddings", "query_pre_attn_scalar", "sliding_window", "original_max_position_embeddings"}) {
    if (golden.contains(key)) {
      EXPECT_EQ(config.value(key, Json()), golden[key]) << key;
    }
  }
}

TEST_P(GgufFiles, TokensAreThoseOfTheModelsTokenizer) {
  const auto tokenizer = tokenizer::load_tokenizer(file_);
  const Json golden = expected();
  EXPECT_EQ(tokenizer->vocab_size(), golden["config"]["vocab_size"]);
  for (size_t i = 0; i < golden["texts"].size(); ++i) {
    const auto text = golden["texts"][i].get<std::string>();
    EXPECT_EQ(Json(tokenizer->encode_with_specials(text, true)), golden["ids"][i]) << text;
  }
}

TEST_P(GgufFiles, ChatTemplateIsRendered) {
  const auto tokenizer = tokenizer::load_tokenizer(file_);
  const auto chat = tokenizer::load_chat_template({""}, file_, *tokenizer);
  ASSERT_NE(chat, nullptr);
  EXPECT_EQ(chat->texts().usual, expected()["chat_template"]);
  ASSERT_TRUE(tokenizer->eos_id());
  const std::string end = tokenizer->token(*tokenizer->eos_id());
  const Json messages{{{"role", "user"}, {"content", "Hi"}}, {{"role", "assistant"}, {"content", "Ho"}}};
  EXPECT_EQ(chat->render({messages, {}}, false, "row").text, "<user>Hi" + end + "<assistant>Ho" + end);
  EXPECT_THAT(end, testing::AnyOf("</s>", "<|endoftext|>", "<|end_of_text|>"));
}

INSTANTIATE_TEST_SUITE_P(All, GgufFiles, testing::Values("llama", "gemma3", "qwen2", "qwen3", "gpt2", "phi3"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace lora::models
