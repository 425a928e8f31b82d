#include "peft/p_tuning.h"

#include "peft/prompt_tuning.h"

namespace lora::peft {

namespace {

std::shared_ptr<PromptEncoder> prompt_network(const PTuningOptions& options, int64_t width, uint64_t seed, at::Device device) {
  const Tensor start_NW = random_rows(options.num_virtual_tokens, width, seed);
  const int64_t hidden_size = options.encoder_hidden_size.value_or(width);
  if (options.keeps_base) {
    return trained_rows(start_NW, device);  // PEFT's files hold what the network computes
  }
  return options.encoder_reparameterization_type == PromptNetwork::kMlp
             ? prompt_mlp(start_NW, hidden_size, seed, device)
             : prompt_lstm(start_NW, hidden_size, options.encoder_num_layers, seed, device);
}

}  // namespace

std::unique_ptr<Method> attach_p_tuning(const PTuningOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed,
                                        const std::string& adapter_name) {
  const int64_t hidden_size = options.encoder_hidden_size.value_or(model.body->hidden_size());
  PromptKind kind{kPTuning, "P-tuning",
                  {{"encoder_reparameterization_type", kPromptNetworks.name(options.encoder_reparameterization_type)},
                   {"encoder_hidden_size", hidden_size},
                   {"encoder_num_layers", options.encoder_num_layers},
                   {"encoder_dropout", 0.0}},
                  {}};
  return attach_virtual_tokens(options, std::move(kind), model, base, adapter_name, [&](const nn::EmbeddingTap& place) {
    return prompt_network(options, place.dim(), seed, model.device());
  });
}

}  // namespace lora::peft
