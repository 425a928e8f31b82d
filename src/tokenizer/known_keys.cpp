#include "tokenizer/known_keys.h"

#include <algorithm>
#include <vector>

#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::tokenizer {
namespace {

struct Keys {
  KeyUse use;
  std::string_view names;  ///< between spaces
};

constexpr Keys kConfigKeys[] = {
    {KeyUse::kHonoured,
     " add_bos_token add_eos_token add_prefix_space added_tokens_decoder additional_special_tokens chat_template "
     "clean_up_tokenization_spaces do_lower_case extra_special_tokens fix_mistral_regex keep_accents legacy "
     "model_specific_special_tokens split_by_punct split_special_tokens strip_accents tokenize_chinese_chars tokenizer_class "},
    {KeyUse::kChecked, " auto_map fast_tokenizer_files "},
    {KeyUse::kOtherClass,
     " add_blank bod_token cell_trim_length clean_text cls_token_box do_clean_text do_lowercase do_lowercase_and_remove_accent "
     "do_phonemize "
     "do_subword_tokenize do_upper_case do_word_tokenize emoji_file entity_vocab extra_ids generator id2lang is_uroman jumanpp_kwargs "
     "lang2id lang_codes langs language language_codes legacy_behaviour mask_token_sent max_column_id max_depth "
     "max_entity_length max_mention_length max_question_length max_row_id max_width mecab_kwargs min_question_length "
     "monolingual_vocab_file normalization normalize normalizer_file num_madeup_words offset only_label_first_subword pad_token_box "
     "pad_token_label pad_width phonemize phonemizer_backend phonemizer_lang predict_timestamps question_encoder remove_space "
     "replace_word_delimiter_char separate_vocabs sep_token_box source_lang source_spm src_lang src_vocab_file "
     "strip_column_names subword_tokenizer_type sudachi_kwargs tags_dict target_lang target_spm target_vocab_file task tgt_lang "
     "tgt_vocab_file token_type_ids_pattern unk_id update_answer_coordinates vocab_type word_pronunciation_file word_shape_file "
     "word_tokenizer_type wordpieces_prefix "},
    {KeyUse::kIrrelevant,
     " __version__ _commit_hash backend chat_control_tokens clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output "
     "device_map do_basic_tokenize errors files_loaded full_tokenizer_file gguf_file image_size init_inputs is_local local_files_only "
     "max_len max_length "
     "merges merges_file model_input_names model_max_length model_type name_or_path never_split pad_to_multiple_of pad_token_id "
     "pad_token_type_id "
     "padding padding_side processor_class response_schema response_template return_token_type_ids save_format sp_model_kwargs "
     "spaces_between_special_tokens special_tokens_map_file spm_file stride tokenizer_file tokenizer_object transformers_version "
     "trim_offsets truncation truncation_side truncation_strategy use_default_system_prompt use_fast verbose vocab vocab_file vocab_size "},
};

constexpr Keys kComponentKeys[] = {
    {KeyUse::kHonoured,
     " :added_tokens :decoder :model :normalizer :post_processor :pre_tokenizer "
     "AddedToken:content AddedToken:lstrip AddedToken:normalized AddedToken:rstrip AddedToken:single_word AddedToken:special "
     "BPE:byte_fallback BPE:continuing_subword_prefix BPE:end_of_word_suffix BPE:fuse_unk BPE:ignore_merges BPE:merges BPE:unk_token "
     "BPE:vocab BPEDecoder:suffix BertNormalizer:clean_text BertNormalizer:handle_chinese_chars BertNormalizer:lowercase "
     "BertNormalizer:strip_accents BertProcessing:cls BertProcessing:sep ByteLevel:add_prefix_space ByteLevel:use_regex CTC:cleanup "
     "CTC:pad_token CTC:word_delimiter_token Digits:individual_digits Metaspace:add_prefix_space Metaspace:prepend_scheme "
     "Metaspace:replacement Metaspace:split Precompiled:precompiled_charsmap Prepend:prepend Punctuation:behavior Replace:content "
     "Replace:pattern RobertaProcessing:cls RobertaProcessing:sep Sequence:decoders Sequence:normalizers Sequence:pretokenizers "
     "Sequence:processors Split:behavior Split:invert Split:pattern Strip:content Strip:start Strip:stop Strip:strip_left "
     "Strip:strip_right TemplateProcessing:pair TemplateProcessing:single TemplateProcessing:special_tokens Unigram:byte_fallback "
     "Unigram:unk_id Unigram:vocab WordLevel:unk_token WordLevel:vocab WordPiece:cleanup WordPiece:continuing_subword_prefix "
     "WordPiece:max_input_chars_per_word WordPiece:prefix WordPiece:unk_token WordPiece:vocab "},
    {KeyUse::kChecked, " :version AddedToken:id BPE:dropout BPE:type Unigram:type WordLevel:type WordPiece:type "},
    {KeyUse::kIrrelevant,
     " :padding :truncation ByteLevel:trim_offsets Metaspace:str_rep RobertaProcessing:add_prefix_space RobertaProcessing:trim_offsets "},
};

template <size_t kSize>
std::optional<KeyUse> find_use(const Keys (&keys)[kSize], const std::string& name) {
  const std::string entry = " " + name + " ";
  const auto found = std::find_if(std::begin(keys), std::end(keys),
                                  [&entry](const Keys& list) { return list.names.find(entry) != std::string_view::npos; });
  return found != std::end(keys) ? std::optional(found->use) : std::nullopt;
}

void warn(const std::vector<std::string>& unknown, const std::string& where) {
  if (unknown.empty()) {
    return;
  }
  log::warn("[" + where + "] " + (unknown.size() == 1 ? "a key is" : "keys are") +
            " not known here and not used: " + join(unknown, ", ", 2));
}

/// Collects the unknown keys of a component and of its parts.
void collect(const Json& component, const std::string& usual_type, std::vector<std::string>& unknown) {
  if (component.is_array()) {
    for (const Json& part : component) {
      collect(part, usual_type, unknown);
    }
    return;
  }
  if (!component.is_object()) {
    return;
  }
  const auto named = component.find("type");
  const std::string type = named != component.end() && named->is_string() ? named->get<std::string>() : usual_type;
  for (const auto& [key, value] : component.items()) {
    if (type == "Sequence" && value.is_array()) {
      collect(value, "", unknown);
    }
    if (key != "type" && !component_key_use(type, key) && !type.empty()) {
      unknown.push_back(type + "." + printable(key, 60));
    }
  }
}

}  // namespace

std::optional<KeyUse> key_use(std::string_view file, const std::string& key) {
  if (key.ends_with("_token") && key != "add_bos_token" && key != "add_eos_token") {
    return KeyUse::kHonoured;  // a role, common or specific to the model
  }
  if (file == "special_tokens_map.json") {
    return key == "additional_special_tokens" || key == "extra_special_tokens" ? std::optional(KeyUse::kHonoured) : std::nullopt;
  }
  return find_use(kConfigKeys, key);
}

std::optional<KeyUse> component_key_use(const std::string& type, const std::string& key) {
  return find_use(kComponentKeys, type + ":" + key);
}

void warn_of_unknown_keys(const Json& object, std::string_view file, const std::string& where) {
  std::vector<std::string> unknown;
  for (const auto& [key, value] : object.items()) {
    if (file != "added_tokens.json" && !key_use(file, key)) {
      unknown.push_back(printable(key, 60));
    }
  }
  warn(unknown, where);
}

void warn_of_unknown_component_keys(const Json& file, const std::string& where) {
  std::vector<std::string> unknown;
  for (const auto& [key, value] : file.items()) {
    if (!component_key_use("", key)) {
      unknown.push_back(printable(key, 60));
    }
    if (key == "added_tokens") {
      collect(value, "AddedToken", unknown);
    } else {
      collect(value, "", unknown);
    }
  }
  std::sort(unknown.begin(), unknown.end());
  unknown.erase(std::unique(unknown.begin(), unknown.end()), unknown.end());
  warn(unknown, where);
}

}  // namespace lora::tokenizer
