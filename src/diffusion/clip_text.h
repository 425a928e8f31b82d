#pragma once
#include <memory>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/io/weight_source.h"
#include "lora/nn/attention.h"
#include "lora/nn/body.h"
#include "lora/nn/embedding.h"
#include "lora/nn/layer_memory.h"
#include "lora/nn/layer_norm.h"
#include "lora/nn/linear.h"

namespace lora::diffusion {

using at::Tensor;

/// config.json of transformers' CLIPTextModel. An absent key has the default of today's class.
struct ClipTextConfig {
  int64_t vocab_size, hidden_size, intermediate_size, num_layers, num_heads, num_positions, projection_dim;
  int64_t eos_token_id;
  std::string hidden_act;
  double layer_norm_eps, attention_dropout;
};

/// Throws model Error for a damaged value, and one that is not supported.
ClipTextConfig read_clip_text_config(const JsonReader& config);

/// What a pass gives. T tokens, N documents, D hidden size, P channels of the projection.
struct ClipStates {
  Tensor skipped_TD;  ///< the output of the last layer that was asked for, before the final norm
  Tensor pooled_NP;   ///< the projected state at the end of each text; undefined unless asked for
};

struct ClipRequest {
  int64_t skip = 0;     ///< layers that are left out at the end
  bool pooled = false;  ///< needs every layer
};

/// The text model of CLIP (Radford et al. 2021) as Stable Diffusion uses it: pre-norm layers with causal attention, over texts that all
/// have the same length; no padding is masked. Its modules have the names of CLIPTextModelWithProjection.
class ClipText : public nn::Body {
 public:
  /// @param with_projection whether it has `text_projection`; if not, pooled states are those of the final norm.
  ClipText(const ClipTextConfig& config, bool with_projection, io::WeightSource& source, const at::TensorOptions& options);
  ~ClipText() override;

  /// Throws a data Error for a pass whose documents are longer than the model has positions, or of different lengths.
  ClipStates states(const nn::Pass& pass, const ClipRequest& request) const;
  Tensor final_norm(const Tensor& x_TD) const { return final_norm_.forward(x_TD); }
  const ClipTextConfig& config() const { return config_; }

  Tensor hidden(const nn::Pass& pass) const override { return final_norm(states(pass, {}).skipped_TD); }
  int64_t hidden_size() const override { return config_.hidden_size; }
  std::vector<nn::Host*> hosts() override { return hosts_; }
  std::vector<nn::Parameter> base_parameters() const override;
  std::vector<std::string> default_target_modules() const override { return {"q_proj", "k_proj", "v_proj", "out_proj"}; }
  int64_t vocab_size() const override { return config_.vocab_size; }
  at::ScalarType dtype() const override { return tokens_.matrix()->dtype(); }
  at::Device device() const override { return tokens_.matrix()->device(); }
  nn::PassMemory pass_memory(nn::Recompute recompute) const override;
  bool keeps_keys(int64_t /*cached*/, int64_t /*length*/) const override { return false; }

 private:
  class Layer;

  Tensor pooled(const Tensor& x_TD, const nn::Pass& pass) const;

  ClipTextConfig config_;
  nn::Embedding tokens_, positions_;
  std::vector<std::unique_ptr<Layer>> layers_;
  nn::LayerNorm final_norm_;
  std::unique_ptr<nn::Linear> projection_;
  std::vector<nn::Host*> hosts_;
};

}  // namespace lora::diffusion
