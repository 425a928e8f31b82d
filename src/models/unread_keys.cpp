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

/// Keys of one family that transformers does not compute with (any more), or only in heads and losses that are not supported here.
struct Idle {
  const char* model_type;
  const char* key;
};
constexpr std::array kIdle{Idle{"bert", "directionality"},  // never read
                           Idle{"bert", "pooler_fc_size"},  // and so the pooler_ keys of multilingual BERT
                           Idle{"bert", "pooler_num_attention_heads"},
                           Idle{"bert", "pooler_num_fc_layers"},
                           Idle{"bert", "pooler_size_per_head"},
                           Idle{"bert", "pooler_type"},
                           Idle{"distilbert", "qa_dropout"},            // question answering's head
                           Idle{"distilbert", "sinusoidal_pos_embds"},  // initial positions; the file contains them
                           Idle{"distilbert", "tie_weights_"},
                           Idle{"falcon", "apply_residual_connection_post_layernorm"},  // not in transformers 5
                           Idle{"falcon", "classifier_dropout"},                        // token classification's head
                           Idle{"gemma", "hidden_activation"},                          // hidden_act applies
                           Idle{"gemma2", "hidden_act"},                                // hidden_activation applies
                           Idle{"gemma3_text", "attn_logit_softcapping"},               // transformers does not cap scores here
                           Idle{"gemma3_text", "hidden_act"},
                           Idle{"gemma3_text", "_sliding_window_pattern"},  // saved along with the layer_types that follow from it
                           Idle{"gpt2", "n_ctx"},                           // n_positions applies
                           Idle{"gpt2", "reorder_and_upcast_attn"},         // a variant of eager attention with the same result in float32
                           Idle{"gpt2", "classifier_dropout"},              // token classification's head
                           Idle{"gpt2", "hidden_dropout"},
                           Idle{"gpt2", "summary_activation"},  // the double-heads model
                           Idle{"gpt2", "summary_first_dropout"},
                           Idle{"gpt2", "summary_last_dropout"},
                           Idle{"gpt2", "summary_proj_to_labels"},
                           Idle{"gpt2", "summary_type"},
                           Idle{"gpt2", "summary_use_proj"},
                           Idle{"gpt_neox", "classifier_dropout"},  // token classification's head
                           Idle{"gpt_neox", "is_decoder"},
                           Idle{"gpt_neox", "rope_theta"},   // saved along with rotary_emb_base, which applies
                           Idle{"llama", "pretraining_tp"},  // how projections were cut
                           Idle{"llama", "is_llama_config"},
                           Idle{"llama", "rope_interleaved"},
                           Idle{"mixtral", "router_aux_loss_coef"},  // applies only with output_router_logits, which is refused
                           Idle{"modernbert", "decoder_bias"},       // the masked language model's head
                           Idle{"modernbert", "deterministic_flash_attn"},
                           Idle{"modernbert", "initializer_cutoff_factor"},
                           Idle{"modernbert", "layer_norm_eps"},  // norm_eps applies
                           Idle{"modernbert", "reference_compile"},
                           Idle{"modernbert", "repad_logits_with_grad"},
                           Idle{"modernbert", "sparse_pred_ignore_index"},
                           Idle{"modernbert", "sparse_prediction"},
                           Idle{"phi3", "embd_pdrop"},  // transformers has no dropout of embeddings here
                           Idle{"phi3", "full_attn_mod"},
                           Idle{"phi3", "interpolate_factor"},
                           Idle{"qwen3_moe", "max_window_layers"},  // every layer has the window
                           Idle{"qwen3_moe", "router_aux_loss_coef"},
                           Idle{"smollm3", "max_window_layers"},
                           Idle{"smollm3", "pretraining_tp"}};

bool is_idle(const std::string& model_type, const std::string& key) {
  const auto is_key = [&key](const char* common) { return key == common; };
  const auto is_own = [&](const Idle& idle) { return model_type == idle.model_type && key == idle.key; };
  return std::any_of(kCommon.begin(), kCommon.end(), is_key) || std::any_of(kIdle.begin(), kIdle.end(), is_own);
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

std::vector<std::string> unread_keys(const Json& config, const JsonAccess& access, const std::string& model_type) {
  std::vector<std::string> keys;
  collect(config, access, "", keys);
  std::erase_if(keys, [&model_type](const std::string& key) { return is_idle(model_type, key); });
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
