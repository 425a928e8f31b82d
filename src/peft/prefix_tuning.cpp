// N virtual tokens, L layers, K key heads, E channels of a head. Channels 2 l K E … of the encoder are the keys of layer l, followed by
// its values (PEFT's past_key_values).
#include "peft/prefix_tuning.h"

#include <ATen/ATen.h>

#include "lora/base/error.h"
#include "lora/nn/attention.h"
#include "peft/prompt_method.h"

namespace lora::peft {

namespace {

class PrefixKeys : public nn::Attachment {
 public:
  PrefixKeys(const std::string& adapter, std::shared_ptr<const PromptEncoder> encoder, int64_t layer, const nn::HeadSizes& heads)
      : Attachment(adapter), encoder_(std::move(encoder)), layer_(layer), heads_(heads) {}

  std::vector<Tensor> tensors() const override { return encoder_->tensors(); }
  int64_t prefix_length() const override { return encoder_->num_tokens(); }

  nn::KeyPrefix key_prefix(const nn::Pass&) const override {
    const int64_t width = 2 * heads_.num_key_value_heads * heads_.head_dim;
    const Tensor both_N2KE = encoder_->channels(layer_ * width, (layer_ + 1) * width)
                                 .unflatten(1, {2, heads_.num_key_value_heads, heads_.head_dim});
    return {both_N2KE.select(1, 0), both_N2KE.select(1, 1)};
  }

 private:
  std::shared_ptr<const PromptEncoder> encoder_;
  int64_t layer_;
  nn::HeadSizes heads_;
};

/// The attention of each layer.
std::vector<nn::Attention*> prefix_places(nn::Model& model) {
  std::vector<nn::Attention*> places;
  for (nn::Host* tap : model.taps()) {
    if (auto* const attention = dynamic_cast<nn::Attention*>(tap)) {
      places.push_back(attention);
    }
  }
  if (places.empty()) {
    config_error("adapter.peft_type", std::string("found \"") + kPrefixTuning +
                                          "\", which adds keys and values to attention, expected a method for a model whose attention is "
                                          "not known, such as \"LORA\"");
  }
  for (const nn::Attention* place : places) {
    if (place->heads().num_key_value_heads != places.front()->heads().num_key_value_heads ||
        place->heads().head_dim != places.front()->heads().head_dim) {
      config_error("adapter.peft_type", std::string("\"") + kPrefixTuning +
                                            "\" needs keys of one size in all layers, as its file has: found other key heads in " +
                                            place->name());
    }
  }
  return places;
}

PromptSizes prefix_sizes(const std::vector<nn::Attention*>& places) {
  const nn::HeadSizes& heads = places.front()->heads();
  return {heads.num_key_value_heads * heads.head_dim, static_cast<int64_t>(places.size()), heads.num_key_value_heads};
}

std::shared_ptr<PromptEncoder> prefix_encoder(const PrefixOptions& options, const PromptSizes& sizes, uint64_t seed, at::Device device) {
  const at::NoGradGuard no_grad;
  const int64_t width = 2 * sizes.num_layers * sizes.token_dim;
  // PEFT's files hold the keys and values alone, so that they are used without the network.
  if (options.prefix_projection && !options.keeps_base) {
    return prefix_network({options.num_virtual_tokens, sizes.token_dim, *options.encoder_hidden_size, width},
                          options.init_weights.has_value(), seed, device);
  }
  return trained_rows(options.init_weights ? at::zeros({options.num_virtual_tokens, width}, at::kFloat)
                                           : random_rows(options.num_virtual_tokens, width, seed),
                      device);
}

}  // namespace

std::unique_ptr<Method> attach_prefix(const PrefixOptions& given, nn::Model& model, const BaseReference& base, uint64_t seed,
                                      const std::string& adapter_name) {
  const std::vector<nn::Attention*> places = prefix_places(model);
  const PromptSizes sizes = prefix_sizes(places);
  require_sizes(given, sizes);
  PrefixOptions options = given;
  options.encoder_hidden_size = given.encoder_hidden_size.value_or(sizes.token_dim);
  const std::shared_ptr<PromptEncoder> encoder = prefix_encoder(options, sizes, seed, model.device());
  PromptKind kind{kPrefixTuning, "prefix tuning",
                  {{"prefix_projection", options.prefix_projection},
                   {"encoder_hidden_size", *options.encoder_hidden_size},
                   {"init_weights", nullptr}},
                  {"attention of every layer", {}}};
  if (options.init_weights) {
    kind.own_keys["init_weights"] = *options.init_weights;
  }
  for (int64_t layer = 0; layer < sizes.num_layers; ++layer) {
    places[layer]->attach(PrefixKeys(adapter_name, encoder, layer, places[layer]->heads()));
    kind.match.hosts.push_back(places[layer]->name());
  }
  auto method = std::make_unique<PromptMethod>(options, std::move(kind), sizes, encoder, model, base, adapter_name);
  method->continue_from_start();
  return method;
}

void require_prefix_places(const PrefixOptions& options, nn::Model& model) {
  require_sizes(options, prefix_sizes(prefix_places(model)));
}

}  // namespace lora::peft
