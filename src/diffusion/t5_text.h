#pragma once
#include <memory>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/io/weight_source.h"
#include "lora/nn/body.h"
#include "lora/nn/embedding.h"
#include "lora/nn/linear.h"
#include "lora/nn/rms_norm.h"
#include "lora/ops/activation_kinds.h"

namespace lora::diffusion {

using at::Tensor;

/// config.json of transformers' T5EncoderModel. An absent key has the default of today's class.
struct T5TextConfig {
  int64_t vocab_size, hidden_size, head_dim, num_heads, intermediate_size, num_layers;
  int64_t num_buckets, max_distance;  ///< of relative positions
  double eps;
  ops::Activation activation;
};

/// Throws model Error for a damaged value, and for feed-forward blocks without a gate (T5 before 1.1), which are not supported.
T5TextConfig read_t5_text_config(const JsonReader& config);

/// The encoder of T5 1.1 (Raffel et al. 2020) as SD3 and FLUX use it: over texts that all have the same length, without a padding mask. Its
/// modules have the names of T5EncoderModel.
class T5Text : public nn::Body {
 public:
  T5Text(const T5TextConfig& config, io::WeightSource& source, const at::TensorOptions& options);
  ~T5Text() override;

  /// The states after the final norm, [T, D]. Throws a data Error for a pass whose documents have different lengths.
  Tensor hidden(const nn::Pass& pass) const override;
  int64_t hidden_size() const override { return config_.hidden_size; }
  std::vector<nn::Host*> hosts() override { return hosts_; }
  std::vector<nn::Parameter> base_parameters() const override;
  std::vector<std::string> default_target_modules() const override { return {"q", "v"}; }
  int64_t vocab_size() const override { return config_.vocab_size; }
  at::ScalarType dtype() const override { return tokens_.matrix()->dtype(); }
  at::Device device() const override { return tokens_.matrix()->device(); }
  nn::PassMemory pass_memory(nn::Recompute recompute) const override;
  bool keeps_keys(int64_t /*cached*/, int64_t /*length*/) const override { return false; }

 private:
  class Layer;

  /// What is added to the scores of queries and keys at each distance, [H, L, L].
  Tensor position_bias(int64_t length) const;

  T5TextConfig config_;
  nn::Embedding tokens_, bias_;
  std::vector<std::unique_ptr<Layer>> layers_;
  nn::RmsNorm final_norm_;
  std::vector<nn::Host*> hosts_;
};

}  // namespace lora::diffusion
