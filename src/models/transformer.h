#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/nn/body.h"
#include "models/layer.h"
#include "models/token_embeddings.h"

namespace lora::models {

/// The names of the modules around the layers in the checkpoint.
struct TransformerNames {
  std::string embedding = "model.embed_tokens";
  std::string layers = "model.layers";  ///< layer i is `layers`.i
  std::string norm = "model.norm";      ///< of the last layer's output; empty: none
};

struct TransformerOptions {
  int64_t vocab_size;
  int64_t hidden_size;
  int64_t num_layers;
  std::vector<nn::RopeOptions> ropes = {};       ///< the ones that layers choose from
  bool wide_ropes = false;                       ///< rotation in float32, whatever the dtype
  std::vector<std::string> target_modules = {};  ///< PEFT's default for the family; empty: none
  TransformerNames names = {};
  double embedding_dropout = 0.0;  ///< of the first layer's input
};

/// What a family makes its layers and norms with; `name` is the module's.
using MakeNorm = std::function<std::unique_ptr<nn::Norm>(const std::string& name)>;
using MakeLayer = std::function<LayerParts(const std::string& name, int64_t layer)>;

/// Embeddings, layers and a final norm: the body of every decoder and encoder, whatever its layers are.
class Transformer : public nn::Body {
 public:
  Transformer(TransformerOptions options, std::unique_ptr<TokenEmbeddings> embeddings, const MakeNorm& make_norm,
              const MakeLayer& make_layer);

  Tensor hidden(const nn::Pass& pass) const override;
  Tensor hidden_of(const Tensor& rows_S, const nn::Pass& pass) const override;
  int64_t hidden_size() const override { return options_.hidden_size; }
  std::vector<nn::Host*> hosts() override { return hosts_; }
  std::vector<nn::Host*> taps() override;
  std::vector<nn::Parameter> base_parameters() const override;
  std::vector<std::string> default_target_modules() const override { return options_.target_modules; }
  int64_t vocab_size() const override { return options_.vocab_size; }
  at::ScalarType dtype() const override { return embeddings_->table().matrix()->dtype(); }
  at::Device device() const override { return embeddings_->table().matrix()->device(); }
  nn::PassMemory pass_memory(nn::Recompute recompute) const override;
  int64_t prefix_length() const override;
  int64_t virtual_tokens() const override { return embeddings_->virtual_tokens().virtual_tokens(); }
  /// Not if the document grew beyond the length from which LongRoPE rotates all of its keys differently.
  bool keeps_keys(int64_t cached, int64_t length) const override;

 private:
  TransformerOptions options_;
  std::unique_ptr<TokenEmbeddings> embeddings_;
  nn::Dropout embedding_dropout_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::unique_ptr<nn::Norm> norm_;  ///< null: none
  std::vector<nn::Rope> ropes_;
  std::vector<nn::Host*> hosts_;
};

}  // namespace lora::models
