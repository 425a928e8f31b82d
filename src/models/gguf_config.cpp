#include "models/gguf_config.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "lora/base/text.h"

namespace lora::models {

namespace {

/// The shortest decimal number that is the same float32: files hold float32 numbers, and config.json the decimal ones that they were
/// rounded from.
double shortest(double value) {
  std::array<char, 32> text{};
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), static_cast<float>(value));
  double number = value;
  std::from_chars(text.data(), end, number);
  return number;
}

/// Builds the config of one file.
class ConfigBuilder {
 public:
  ConfigBuilder(const io::GgufFile& file, const io::GgufArchitecture& architecture)
      : file_(file), prefix_(std::string(architecture.name) + "."), type_(architecture.model_type) {}

  Json build();

 private:
  std::string key(const char* name) const { return prefix_ + name; }
  bool has(const char* name) const { return file_.has(key(name)); }
  int64_t integer(const char* name) const { return file_.integer(key(name)); }
  double number(const char* name) const { return shortest(file_.number(key(name))); }
  bool has_tensor(const std::string& name) const { return find_gguf_tensor(file_, name) != nullptr; }

  void set(const char* json_key, Json value) { config_[json_key] = std::move(value); }
  void set_integer(const char* json_key, const char* name) {
    if (has(name)) {
      config_[json_key] = integer(name);
    }
  }
  void set_number(const char* json_key, const char* name) {
    if (has(name)) {
      config_[json_key] = number(name);
    }
  }

  int64_t head_dim() const {
    return has("attention.key_length") ? integer("attention.key_length") : integer("embedding_length") / gguf_heads(file_).heads;
  }

  void set_sizes();
  void set_dtype();
  void set_tokens();
  void set_rope();
  Json rope_scaling() const;
  Json llama3_scaling() const;
  Json longrope_scaling() const;
  void set_family();
  void set_experts();
  void set_gpt2();
  void set_gpt_neox();
  void set_falcon();
  void set_stablelm();
  void set_gemma();

  const io::GgufFile& file_;
  std::string prefix_;
  std::string type_;
  Json config_;
};

Json ConfigBuilder::build() {
  set("model_type", type_);
  set_sizes();
  set_dtype();
  set_tokens();
  if (type_ != "gpt2") {
    set_rope();
  }
  set_family();
  return std::move(config_);
}

void ConfigBuilder::set_sizes() {
  const io::GgufTensor* const table = find_gguf_tensor(file_, "token_embd.weight");
  if (table == nullptr || table->shape.size() != 2) {
    model_error(file_.path().string(), "has no tensor 'token_embd.weight' with two dimensions, expected a whole language model");
  }
  const io::GgufHeads heads = gguf_heads(file_);
  set("vocab_size", table->shape.front());
  set("hidden_size", integer("embedding_length"));
  set("num_hidden_layers", integer("block_count"));
  set("num_attention_heads", heads.heads);
  set("num_key_value_heads", heads.key_heads);
  set_integer("intermediate_size", "feed_forward_length");
  set_integer("max_position_embeddings", "context_length");
  set_number("rms_norm_eps", "attention.layer_norm_rms_epsilon");
  set("tie_word_embeddings", !has_tensor("output.weight"));
  if (has("attention.value_length") && integer("attention.value_length") != head_dim()) {
    file_.fail(key("attention.value_length"), "the same as attention.key_length, " + std::to_string(head_dim()));
  }
}

/// Quantised files are computed with in bfloat16 unless the user says otherwise.
void ConfigBuilder::set_dtype() {
  const char* dtype = "float32";
  for (const io::GgufTensor& tensor : file_.tensors()) {
    if (tensor.shape.size() > 1) {
      const std::string_view name = tensor.type->name;
      dtype = name == "F16" && std::string_view(dtype) == "float32" ? "float16" : name == "F16" || name == "F32" ? dtype : "bfloat16";
    }
  }
  set("dtype", dtype);
}

void ConfigBuilder::set_tokens() {
  for (const auto& [name, ggml] :
       {std::pair("bos_token_id", "bos"), std::pair("eos_token_id", "eos"), std::pair("pad_token_id", "padding")}) {
    const std::string id = std::string("tokenizer.ggml.") + ggml + "_token_id";
    if (file_.has(id)) {
      set(name, file_.integer(id));
    }
  }
}

void ConfigBuilder::set_rope() {
  set_number(type_ == "gpt_neox" ? "rotary_emb_base" : "rope_theta", "rope.freq_base");
  Json scaling = rope_scaling();
  if (!scaling.is_null()) {
    set("rope_scaling", std::move(scaling));
  }
}

/// config.json's rope_scaling; null if positions are not scaled.
Json ConfigBuilder::rope_scaling() const {
  if (has_tensor("rope_factors_long.weight")) {
    return longrope_scaling();
  }
  if (has_tensor("rope_freqs.weight")) {
    return llama3_scaling();
  }
  const std::string type = file_.text(key("rope.scaling.type"), "none");
  if (type == "none" || (!has("rope.scaling.factor") && !has("rope.scale_linear"))) {
    return has("rope.scale_linear") && number("rope.scale_linear") != 1.0
               ? Json{{"rope_type", "linear"}, {"factor", number("rope.scale_linear")}}
               : Json();
  }
  if (type != "linear" && type != "yarn") {
    file_.fail(key("rope.scaling.type"), "none, linear or yarn");
  }
  Json scaling{{"rope_type", type}, {"factor", number(has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear")}};
  if (type == "yarn" && has("rope.scaling.original_context_length")) {
    scaling["original_max_position_embeddings"] = integer("rope.scaling.original_context_length");
  }
  return scaling;
}

std::vector<double> factors_of(const io::GgufFile& file, const io::GgufTensor& tensor) {
  if (std::string_view(tensor.type->name) != "F32") {
    model_error(file.path().string() + ": tensor '" + tensor.name + "'",
                std::string("found ") + tensor.type->name + ", expected F32: it holds factors of frequencies");
  }
  const at::Tensor numbers = file.bytes(tensor).clone().view(at::kFloat);
  std::vector<double> factors;
  for (int64_t i = 0; i < numbers.numel(); ++i) {
    factors.push_back(shortest(static_cast<double>(numbers.const_data_ptr<float>()[i])));
  }
  return factors;
}

/// Llama 3's rule by the factor of each frequency that the file holds. All published models have the same borders, 1 and 4 times 8192
/// positions; the factors are computed again to see that these have, too.
Json ConfigBuilder::llama3_scaling() const {
  constexpr double kLow = 1.0, kHigh = 4.0, kOriginal = 8192.0, kPi = 3.14159265358979323846;
  const std::vector<double> factors = factors_of(file_, *find_gguf_tensor(file_, "rope_freqs.weight"));
  const double factor = factors.empty() ? 1.0 : *std::max_element(factors.begin(), factors.end());
  if (factor == 1.0) {
    return Json();
  }
  const double theta = has("rope.freq_base") ? number("rope.freq_base") : 10000.0;
  for (size_t i = 0; i < factors.size(); ++i) {
    const double length = 2 * kPi * std::pow(theta, static_cast<double>(i) / static_cast<double>(factors.size()));
    const double smooth = (kOriginal / length - kLow) / (kHigh - kLow);
    const double expected = length < kOriginal / kHigh ? 1.0 : length > kOriginal / kLow ? factor : 1.0 / ((1 - smooth) / factor + smooth);
    if (!(std::abs(factors[i] - expected) <= 1e-4 * expected)) {
      model_error(file_.path().string() + ": tensor 'rope_freqs.weight'", "found the factor " + std::to_string(factors[i]) +
                                                                              " of frequency " + std::to_string(i) + ", expected " +
                                                                              std::to_string(expected) + ", as in Llama 3's models");
    }
  }
  return {{"rope_type", "llama3"},
          {"factor", factor},
          {"low_freq_factor", kLow},
          {"high_freq_factor", kHigh},
          {"original_max_position_embeddings", static_cast<int64_t>(kOriginal)}};
}

Json ConfigBuilder::longrope_scaling() const {
  const io::GgufTensor* const short_factors = find_gguf_tensor(file_, "rope_factors_short.weight");
  if (short_factors == nullptr || !has("rope.scaling.original_context_length")) {
    model_error(file_.path().string(), "has the tensor 'rope_factors_long.weight', expected also 'rope_factors_short.weight' and " +
                                           key("rope.scaling.original_context_length"));
  }
  return {{"rope_type", "longrope"},
          {"short_factor", factors_of(file_, *short_factors)},
          {"long_factor", factors_of(file_, *find_gguf_tensor(file_, "rope_factors_long.weight"))}};
}

void ConfigBuilder::set_family() {
  const bool has_head_dim =
      type_ == "llama" || type_ == "qwen3" || type_ == "qwen3_moe" || type_.starts_with("gemma");
  if (has_head_dim) {
    set("head_dim", head_dim());
  }
  set("hidden_act", type_.starts_with("gemma") ? "gelu_pytorch_tanh" : "silu");
  if (type_ == "llama" || type_ == "smollm3") {
    set("attention_bias", has_tensor("blk.0.attn_q.bias"));
    set("mlp_bias", has_tensor("blk.0.ffn_up.bias"));
  } else if (type_ == "qwen2" || type_ == "qwen3" || type_ == "qwen3_moe") {
    set("use_sliding_window", false);
  }
  if (type_ == "llama" && file_.integer(key("expert_count"), 0) > 0) {
    file_.fail(key("expert_count"), "0: mixtures of experts of this architecture are not supported");
  }
  if (type_ == "qwen3_moe") {
    set_experts();
  } else if (type_ == "phi3") {
    set_integer("sliding_window", "attention.sliding_window");
    set_integer("original_max_position_embeddings", "rope.scaling.original_context_length");
    if (has("rope.dimension_count")) {
      set("partial_rotary_factor", static_cast<double>(integer("rope.dimension_count")) / static_cast<double>(head_dim()));
    }
  } else if (type_.starts_with("gemma")) {
    set_gemma();
  } else if (type_ == "gpt2") {
    set_gpt2();
  } else if (type_ == "gpt_neox") {
    set_gpt_neox();
  } else if (type_ == "falcon") {
    set_falcon();
  } else if (type_ == "stablelm") {
    set_stablelm();
  }
}

void ConfigBuilder::set_experts() {
  set("num_experts", integer("expert_count"));
  set("num_experts_per_tok", integer("expert_used_count"));
  set("moe_intermediate_size", integer("expert_feed_forward_length"));
  set("norm_topk_prob", true);
}

/// The scale of scores is not in the file: as in llama.cpp, it follows from the number of layers of the largest model.
void ConfigBuilder::set_gemma() {
  if (type_ == "gemma") {
    return;
  }
  set("hidden_activation", config_["hidden_act"]);
  config_.erase("hidden_act");
  const int64_t layers_of_27b = type_ == "gemma2" ? 46 : 62;
  const bool is_27b = integer("block_count") == layers_of_27b;
  set("query_pre_attn_scalar", is_27b ? integer("embedding_length") / gguf_heads(file_).heads : head_dim());
  set_integer("sliding_window", "attention.sliding_window");
  if (type_ == "gemma2") {
    set("attn_logit_softcapping", has("attn_logit_softcapping") ? Json(number("attn_logit_softcapping")) : Json(50.0));
    set("final_logit_softcapping", has("final_logit_softcapping") ? Json(number("final_logit_softcapping")) : Json(30.0));
    return;
  }
  set("rope_local_base_freq", has("rope.freq_base_swa") ? number("rope.freq_base_swa") : 10000.0);
  set("final_logit_softcapping", has("final_logit_softcapping") ? Json(number("final_logit_softcapping")) : Json());
}

void ConfigBuilder::set_gpt2() {
  Json gpt2{{"model_type", type_},
            {"vocab_size", config_["vocab_size"]},
            {"n_embd", config_["hidden_size"]},
            {"n_layer", config_["num_hidden_layers"]},
            {"n_head", config_["num_attention_heads"]},
            {"n_positions", integer("context_length")},
            {"layer_norm_epsilon", number("attention.layer_norm_epsilon")},
            {"activation_function", "gelu_new"},
            {"tie_word_embeddings", config_["tie_word_embeddings"]},
            {"dtype", config_["dtype"]}};
  if (has("feed_forward_length")) {
    gpt2["n_inner"] = integer("feed_forward_length");
  }
  for (const char* id : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
    if (config_.contains(id)) {
      gpt2[id] = config_[id];
    }
  }
  config_ = std::move(gpt2);
}

void ConfigBuilder::set_gpt_neox() {
  config_.erase("num_key_value_heads");
  set("layer_norm_eps", number("attention.layer_norm_epsilon"));
  set("hidden_act", "gelu");
  set("rotary_pct", static_cast<double>(integer("rope.dimension_count")) / static_cast<double>(head_dim()));
  set("use_parallel_residual", file_.boolean(key("use_parallel_residual"), true));
  set("attention_bias", has_tensor("blk.0.attn_qkv.bias"));
}

void ConfigBuilder::set_falcon() {
  const io::GgufHeads heads = gguf_heads(file_);
  config_.erase("num_key_value_heads");
  config_.erase("hidden_act");
  config_.erase("intermediate_size");
  const bool has_two_norms = has_tensor("blk.0.attn_norm_2.weight");
  const bool is_new = has_two_norms || (heads.key_heads > 1 && heads.key_heads < heads.heads);
  set("layer_norm_epsilon", number("attention.layer_norm_epsilon"));
  set("ffn_hidden_size", integer("feed_forward_length"));
  set("new_decoder_architecture", is_new);
  set("num_kv_heads", heads.key_heads);
  set("multi_query", is_new || heads.key_heads == 1);
  set("num_ln_in_parallel_attn", has_two_norms ? 2 : 1);
  set("parallel_attn", true);
  set("bias", has_tensor("blk.0.attn_qkv.bias"));
  set("alibi", false);
}

void ConfigBuilder::set_stablelm() {
  set("layer_norm_eps", number("attention.layer_norm_epsilon"));
  set("use_qkv_bias", has_tensor("blk.0.attn_q.bias"));
  set("qk_layernorm", has_tensor("blk.0.attn_q_norm.weight"));
  set("use_parallel_residual", file_.boolean(key("use_parallel_residual"), false));
  set("partial_rotary_factor", static_cast<double>(integer("rope.dimension_count")) / static_cast<double>(head_dim()));
}

}  // namespace

const io::GgufArchitecture& gguf_architecture(const io::GgufFile& file) {
  const std::string name = file.text("general.architecture");
  if (const io::GgufArchitecture* const found = io::find_gguf_architecture(name)) {
    return *found;
  }
  std::vector<std::string> known;
  for (const io::GgufArchitecture& architecture : io::gguf_architectures()) {
    if (io::find_gguf_architecture(architecture.name) == &architecture) {
      known.emplace_back(architecture.name);
    }
  }
  file.fail("general.architecture", "one of " + join(known));
}

const io::GgufTensor* find_gguf_tensor(const io::GgufFile& file, std::string_view name) {
  const auto found = std::find_if(file.tensors().begin(), file.tensors().end(), [name](const auto& tensor) { return tensor.name == name; });
  return found == file.tensors().end() ? nullptr : &*found;
}

io::GgufHeads gguf_heads(const io::GgufFile& file) {
  const std::string prefix = file.text("general.architecture") + ".attention.";
  const std::string heads = prefix + "head_count", key_heads = prefix + "head_count_kv";
  const io::GgufHeads sizes{file.integer(heads), file.integer(key_heads, file.integer(heads))};
  if (sizes.heads < 1 || sizes.key_heads < 1) {
    file.fail(sizes.heads < 1 ? heads : key_heads, "an integer from 1");
  }
  return sizes;
}

Json gguf_config(const io::GgufFile& file) {
  return ConfigBuilder(file, gguf_architecture(file)).build();
}

}  // namespace lora::models
