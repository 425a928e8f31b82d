// N virtual tokens, T tokens, D channels of an embedding.
#include "peft/prompt_tuning.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/random.h"
#include "lora/nn/attention.h"
#include "lora/nn/batch.h"
#include "peft/targets.h"

namespace lora::peft {

namespace {

class PromptRows : public nn::Attachment {
 public:
  PromptRows(const std::string& adapter, std::shared_ptr<const PromptEncoder> encoder)
      : Attachment(adapter), encoder_(std::move(encoder)) {}

  std::vector<Tensor> tensors() const override { return encoder_->tensors(); }
  int64_t virtual_tokens() const override { return encoder_->num_tokens(); }

  Tensor look_up(const nn::LookupCall& call, const Tensor& x_TD) const override {
    // All tokens take part: selecting some would make the host wait for the device.
    const Tensor number_T = nn::virtual_token(0) - call.ids_T;
    const Tensor rows_ND = encoder_->channels(0, encoder_->width()).to(x_TD.scalar_type());
    return at::where(number_T.ge(0).unsqueeze(1), at::embedding(rows_ND, number_T.clamp_min(0)), x_TD);
  }

 private:
  std::shared_ptr<const PromptEncoder> encoder_;
};

nn::EmbeddingTap& prompt_place(const char* peft_type, nn::Model& model) {
  for (nn::Host* tap : model.taps()) {
    if (auto* const place = dynamic_cast<nn::EmbeddingTap*>(tap)) {
      return *place;
    }
  }
  config_error("adapter.peft_type", std::string("found \"") + peft_type +
                                        "\", which adds virtual tokens after the embeddings, expected a method for a model whose "
                                        "embeddings are not known, such as \"LORA\"");
}

PromptSizes prompt_sizes(const nn::EmbeddingTap& place, const nn::Model& model) {
  PromptSizes sizes{place.dim(), 0, 0};
  for (const nn::Host* tap : model.taps()) {
    if (const auto* const attention = dynamic_cast<const nn::Attention*>(tap)) {
      ++sizes.num_layers;
      sizes.num_attention_heads = attention->heads().num_heads;
    }
  }
  return sizes;
}

std::vector<int64_t> sampled_ids(int64_t count, int64_t vocab_size, uint64_t seed) {
  CounterRandom random(mix64(seed, hash_name("prompt_encoder.sampled_tokens")));
  std::vector<int64_t> ids(static_cast<size_t>(count));
  std::generate(ids.begin(), ids.end(), [&] { return static_cast<int64_t>(random.below(static_cast<uint64_t>(vocab_size))); });
  return ids;
}

/// The text's tokens, repeated or cut.
std::vector<int64_t> text_ids(const PromptTuningOptions& options) {
  if (options.text_ids.empty()) {
    config_error("adapter.prompt_tuning_init_text", "found a text without tokens, expected at least one");
  }
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < options.num_virtual_tokens; ++i) {
    ids.push_back(options.text_ids[static_cast<size_t>(i) % options.text_ids.size()]);
  }
  return ids;
}

/// As the model gives them to its first layer, so that a family's scale is in them, as in PEFT.
Tensor embeddings_of(const std::vector<int64_t>& ids, const nn::EmbeddingTap& place, nn::Model& model) {
  const Tensor rows_ND = input_embeddings(model)->weights().front().base_rows(ids);
  return (rows_ND * at::scalar_tensor(place.scale(), rows_ND.options())).to(at::kCPU, at::kFloat);
}

Tensor prompt_start(const PromptTuningOptions& options, const nn::EmbeddingTap& place, nn::Model& model, uint64_t seed) {
  const int64_t count = options.num_virtual_tokens;
  if (options.init_from || options.prompt_tuning_init == PromptInit::kRandom) {
    return random_rows(count, place.dim(), seed);
  }
  const bool is_text = options.prompt_tuning_init == PromptInit::kText;
  return embeddings_of(is_text ? text_ids(options) : sampled_ids(count, model.vocab_size(), seed), place, model);
}

}  // namespace

std::unique_ptr<Method> attach_virtual_tokens(const PromptOptions& options, PromptKind kind, nn::Model& model, const BaseReference& base,
                                              const std::string& adapter_name,
                                              const std::function<std::shared_ptr<PromptEncoder>(const nn::EmbeddingTap& place)>& make) {
  nn::EmbeddingTap& place = prompt_place(kind.peft_type, model);
  const PromptSizes sizes = prompt_sizes(place, model);
  require_sizes(options, sizes);
  std::shared_ptr<PromptEncoder> encoder;
  {
    const at::NoGradGuard no_grad;
    encoder = make(place);
  }
  place.attach(PromptRows(adapter_name, encoder));
  kind.match = {"virtual tokens", {place.name()}};
  auto method = std::make_unique<PromptMethod>(options, std::move(kind), sizes, encoder, model, base, adapter_name);
  method->continue_from_start();
  return method;
}

std::unique_ptr<Method> attach_prompt(const PromptTuningOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed,
                                      const std::string& adapter_name) {
  PromptKind kind{kPromptTuning, "prompt tuning", {{"prompt_tuning_init", kPromptInits.name(options.prompt_tuning_init)}}, {}};
  for (const auto& [key, value] : {std::pair("prompt_tuning_init_text", options.prompt_tuning_init_text),
                                   std::pair("tokenizer_name_or_path", options.tokenizer_name_or_path)}) {
    kind.own_keys[key] = value ? nlohmann::json(*value) : nlohmann::json();
  }
  return attach_virtual_tokens(options, std::move(kind), model, base, adapter_name, [&](const nn::EmbeddingTap& place) {
    return trained_rows(prompt_start(options, place, model, seed), model.device());
  });
}

void require_prompt_place(const PromptOptions& options, const char* peft_type, nn::Model& model) {
  require_sizes(options, prompt_sizes(prompt_place(peft_type, model), model));
}

}  // namespace lora::peft
