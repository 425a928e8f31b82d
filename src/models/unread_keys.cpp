#include "models/unread_keys.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::models {

namespace {

/// Keys of any family that do not change the result of a forward pass, or that another layer reads.
constexpr std::array kCommon{
    // Where the file comes from, and which classes and kernels load it.
    "model_type", "architectures", "transformers_version", "_name_or_path", "name_or_path", "_commit_hash", "auto_map", "tokenizer_class",
    "attn_implementation", "_attn_implementation", "_attn_implementation_autoset", "experts_implementation", "transformers.js_config",
    "unsloth_version", "unsloth_fixed", "is_encoder_decoder",
    // Read before the family's reader runs: the dtype, the tie, quantisation, and the initialisation of random weights.
    "dtype", "torch_dtype", "tie_word_embeddings", "quantization_config", "initializer_range",
    // Token ids, which generation and heads that pool by padding read.
    "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "cls_token_id", "mask_token_id", "unk_token_id",
    "decoder_start_token_id", "eos_token_ids",
    // Labels, which classification reads.
    "id2label", "label2id", "num_labels", "problem_type", "finetuning_task", "task_specific_params",
    // What a pass returns and keeps, and how it saves memory.
    "use_cache", "output_attentions", "output_hidden_states", "output_past", "return_dict", "tie_last_hidden_states", "torchscript",
    "use_bfloat16", "chunk_size_feed_forward", "gradient_checkpointing", "tie_encoder_decoder", "cross_attention_hidden_size",
    "tf_legacy_loss", "prefix", "cache_implementation",
    // For generation, which generation_config.json holds today.
    "assistant_confidence_threshold", "assistant_lookbehind", "bad_words_ids", "begin_suppress_tokens", "diversity_penalty", "do_sample",
    "early_stopping", "encoder_no_repeat_ngram_size", "encoder_repetition_penalty", "epsilon_cutoff", "eta_cutoff",
    "exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id", "length_penalty", "max_length", "min_length",
    "no_repeat_ngram_size", "num_assistant_tokens", "num_assistant_tokens_schedule", "num_beam_groups", "num_beams", "num_return_sequences",
    "output_scores", "remove_invalid_values", "repetition_penalty", "return_dict_in_generate", "suppress_tokens", "target_lookbehind",
    "temperature", "top_k", "top_p", "typical_p"};

bool is_idle(const std::string& key, const std::vector<std::string>& of_family) {
  const auto is_key = [&key](const auto& idle) { return key == idle; };
  return std::any_of(kCommon.begin(), kCommon.end(), is_key) || std::any_of(of_family.begin(), of_family.end(), is_key);
}

/// Whether a value has no effect.
bool is_neutral(const Json& value) {
  return value.is_null() || value == false || value == "" || ((value.is_array() || value.is_object()) && value.empty());
}

/// Whether the value at a path has an effect. A key that contains a point is not found, and is assumed to have one.
bool asks(const Json& config, const std::string& path) {
  const Json* value = &config;
  for (const std::string& key : split(path, '.')) {
    const auto found = value->find(key);
    if (found == value->end()) {
      return true;
    }
    value = &*found;
  }
  return !is_neutral(*value);
}

/// Adds the keys of one object that were not read. An object that was opened is a section, whose keys count separately.
void collect(const Json& object, const JsonAccess& access, const std::string& path, std::vector<std::string>& unread) {
  for (const auto& [key, value] : object.items()) {
    if (!access.was_read(object, key)) {
      unread.push_back(path + key);
    } else if (value.is_object() && access.was_opened(value)) {
      collect(value, access, path + key + ".", unread);
    }
  }
}

}  // namespace

std::vector<std::string> unread_keys(const Json& config, const JsonAccess& access, const std::vector<std::string>& idle_keys) {
  std::vector<std::string> keys;
  collect(config, access, "", keys);
  std::erase_if(keys, [&idle_keys](const std::string& key) { return is_idle(key, idle_keys); });
  return keys;
}

void warn_of_unread_keys(const std::vector<std::string>& all, const Json& config, const std::string& where) {
  std::vector<std::string> keys;
  std::copy_if(all.begin(), all.end(), std::back_inserter(keys), [&config](const auto& key) { return asks(config, key); });
  if (!keys.empty()) {
    log::warn("[" + where + "] " + (keys.size() == 1 ? "a key that this family does not use: " : "keys that this family does not use: ") +
              printable(join(keys, ", ", 2), 200) + ". If they change what the model computes, the results differ from transformers'.");
  }
}

}  // namespace lora::models
