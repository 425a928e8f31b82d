#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/nn/dropout.h"
#include "lora/nn/embedding.h"
#include "lora/nn/model.h"
#include "lora/nn/norm.h"
#include "lora/nn/rope.h"

namespace lora::models {

using at::Tensor;

/// The tables of each of the model's rotary embeddings, for one pass.
using RopeSet = std::vector<nn::RopeTables>;

/// What a layer needs per token, with the adapters in use.
struct LayerMemory {
  nn::Kept attention;     ///< by the attention block and its norms
  nn::Kept feed_forward;  ///< by the feed-forward block and its norms
  int64_t working = 0;    ///< elements in use within the feed-forward block
};

/// One layer of a decoder or an encoder: x_TD → x_TD, or x_SD, the rows that the pass needs.
class DecoderLayer {
 public:
  virtual ~DecoderLayer() = default;
  virtual Tensor forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const = 0;
  /// In transformers' order.
  virtual std::vector<nn::Host*> hosts() = 0;
  virtual LayerMemory memory() const = 0;
};

/// The names of the modules around the layers in the checkpoint.
struct DecoderNames {
  std::string embedding = "model.embed_tokens";
  std::string layers = "model.layers";  ///< layer i is `layers`.i
  std::string norm = "model.norm";      ///< of the last layer's output; empty: none
  std::string head = "lm_head";         ///< empty: none
};

struct DecoderOptions {
  int64_t vocab_size;
  int64_t hidden_size;
  int64_t num_layers;
  bool tied_head = false;
  double embedding_scale = 1.0;  ///< rounded to the dtype before it multiplies the rows
  std::optional<double> logit_soft_cap = {};
  std::vector<nn::RopeOptions> ropes = {};       ///< the ones that layers choose from
  bool wide_ropes = false;                       ///< rotation in float32, whatever the dtype
  std::vector<std::string> target_modules = {};  ///< PEFT's default for the family; empty: none
  DecoderNames names = {};
  double embedding_dropout = 0.0;  ///< of the first layer's input
};

/// Embedding, layers, a final norm and a head, tied or not: the frame of every decoder, whatever its layers are. If the source has no
/// weight for the head, there is no head (a folder of a sequence classifier).
class Decoder : public nn::Model {
 public:
  using MakeNorm = std::function<std::unique_ptr<nn::Norm>(const std::string& name)>;
  using MakeLayer = std::function<std::unique_ptr<DecoderLayer>(const std::string& name, int64_t layer)>;

  Decoder(DecoderOptions decoder, const MakeNorm& make_norm, const MakeLayer& make_layer, io::WeightSource& source,
          const at::TensorOptions& options);

  Tensor hidden(const nn::Pass& pass) const override;
  Tensor hidden_of(const Tensor& rows_S, const nn::Pass& pass) const override;
  nn::Linear* find_head() override { return sequence_head() == nullptr ? head_.get() : nullptr; }
  std::optional<int64_t> cache_limit() const override;
  std::optional<double> logit_soft_cap() const override { return decoder_.logit_soft_cap; }
  std::vector<nn::Host*> hosts() override { return all_hosts(); }
  std::vector<nn::Parameter> base_parameters() const override;
  std::vector<std::string> default_target_modules() const override { return decoder_.target_modules; }
  int64_t vocab_size() const override { return decoder_.vocab_size; }
  int64_t hidden_size() const override { return decoder_.hidden_size; }
  at::ScalarType dtype() const override { return embedding_.weight().scalar_type(); }
  at::Device device() const override { return embedding_.weight().device(); }
  nn::PassMemory pass_memory(nn::Recompute recompute) const override;

 protected:
  /// The first layer's input: the tokens' rows, scaled, unless a family overrides it.
  virtual Tensor embed(const nn::Pass& pass) const;
  /// Adds a host of the family's own after the embedding.
  void add_after_embedding(nn::Host& host) { hosts_.insert(hosts_.begin() + 1, &host); }
  const nn::Embedding& embedding() const { return embedding_; }

 private:
  size_t first_layer_with_gradient() const;
  std::vector<nn::Host*> all_hosts() const;

  DecoderOptions decoder_;
  nn::Embedding embedding_;
  nn::Dropout embedding_dropout_;
  std::vector<std::unique_ptr<DecoderLayer>> layers_;
  std::unique_ptr<nn::Norm> norm_;
  std::unique_ptr<nn::Linear> head_;
  std::vector<nn::Rope> ropes_;
  std::vector<nn::Host*> hosts_;  ///< all except the head
};

}  // namespace lora::models
