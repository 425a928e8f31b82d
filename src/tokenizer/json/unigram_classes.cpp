#include <algorithm>

#include "tokenizer/json/class_builders.h"
#include "tokenizer/json/class_parts.h"

namespace lora::tokenizer {
namespace {

void build_unigram(const char* prepend_scheme, int64_t unk_id, Json& file) {
  const Json spaces = metaspace(prepend_scheme, /*split=*/true);
  file["normalizer"] = precompiled_of(file.value("normalizer", Json()));
  file["pre_tokenizer"] = sequence_of("pretokenizers", {{{"type", "WhitespaceSplit"}}, spaces});
  file["decoder"] = spaces;
  set_model(file, {{"unk_id", unk_id}, {"byte_fallback", false}});
}

void build_xlm_roberta(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  build_unigram(settings.add_prefix_space.value_or(true) ? "always" : "never", /*unk_id=*/3, file);
  traits.around_text = around_with_two_separators(settings, "bos_token", "eos_token");
}

/// The id of a token in the file's vocabulary of [token, score] pairs; `otherwise` if it is missing.
int64_t id_in_vocabulary(const Json& file, const std::string& token, int64_t otherwise) {
  const Json& vocab = file["model"]["vocab"];
  const auto found = std::find_if(vocab.begin(), vocab.end(), [&token](const Json& entry) {
    return entry.is_array() && !entry.empty() && entry[0] == token;
  });
  return found != vocab.end() ? found - vocab.begin() : otherwise;
}

void build_camembert(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  const int64_t unk_id = id_in_vocabulary(file, text_of(settings, "unk_token"), 0);
  build_unigram(settings.add_prefix_space.value_or(true) ? "always" : "never", unk_id, file);
  traits.around_text = around_with_two_separators(settings, "bos_token", "eos_token");
}

void build_albert(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  Json normalizers = Json::array({replace("``", "\""), replace("''", "\"")});
  if (!settings.keep_accents.value_or(false)) {
    normalizers.push_back({{"type", "NFKD"}});
    normalizers.push_back({{"type", "StripAccents"}});
  }
  if (settings.do_lower_case.value_or(true)) {
    normalizers.push_back({{"type", "Lowercase"}});
  }
  if (const Json precompiled = precompiled_of(file.value("normalizer", Json())); !precompiled.is_null()) {
    normalizers.push_back(precompiled);
  }
  build_unigram(settings.add_prefix_space.value_or(true) ? "always" : "never", /*unk_id=*/1, file);
  file["normalizer"] = sequence_of("normalizers", std::move(normalizers));
  if (file.value("post_processor", Json()).is_null()) {
    traits.around_text = cls_and_sep_around(settings);
  }
}

void build_deberta_v2(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  Json normalizers = Json::array();
  if (settings.do_lower_case.value_or(false)) {
    normalizers.push_back({{"type", "Lowercase"}});
  }
  normalizers.push_back(replace_pattern(R"(\s{2,}|[\n\r\t])", " "));
  normalizers.push_back({{"type", "NFC"}});
  normalizers.push_back({{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}});
  file["normalizer"] = sequence_of("normalizers", std::move(normalizers));
  Json pre_tokenizers = Json::array();
  if (settings.split_by_punct.value_or(false)) {
    pre_tokenizers.push_back({{"type", "Punctuation"}, {"behavior", "Isolated"}});
  }
  const Json spaces = metaspace(settings.add_prefix_space.value_or(true) ? "always" : "first", /*split=*/true);
  pre_tokenizers.push_back(spaces);
  file["pre_tokenizer"] = sequence_of("pretokenizers", std::move(pre_tokenizers));
  file["decoder"] = spaces;
  set_model(file, {{"unk_id", id_in_vocabulary(file, text_of(settings, "unk_token"), 1)}, {"byte_fallback", false}});
  traits.around_text = cls_and_sep_around(settings);
}

void build_t5(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  build_unigram("always", /*unk_id=*/2, file);
  traits.around_text = [settings](const IdOf& id_of) {
    const Json eos = special_part("</s>", 0);
    return Json{{"type", "TemplateProcessing"},
                {"single", Json::array({text_part("A", 0), eos})},
                {"pair", Json::array({text_part("A", 0), eos, text_part("B", 0), eos})},
                {"special_tokens", {{"</s>", {{"id", "</s>"}, {"ids", Json::array({id_of(text_of(settings, "eos_token"))})}}}}}};
  };
}

const RoleDefaults& albert_tokens() {
  static const RoleDefaults kTokens{{"bos_token", "[CLS]"}, {"eos_token", "[SEP]"}, {"unk_token", "<unk>"},  {"sep_token", "[SEP]"},
                                    {"pad_token", "<pad>"}, {"cls_token", "[CLS]"}, {"mask_token", "[MASK]"}};
  return kTokens;
}

const RoleDefaults& deberta_v2_tokens() {
  static const RoleDefaults kTokens{{"bos_token", "[CLS]"}, {"eos_token", "[SEP]"}, {"unk_token", "[UNK]"},  {"sep_token", "[SEP]"},
                                    {"pad_token", "[PAD]"}, {"cls_token", "[CLS]"}, {"mask_token", "[MASK]"}};
  return kTokens;
}

}  // namespace

const RoleDefaults& roberta_tokens() {
  static const RoleDefaults kTokens{{"bos_token", "<s>"},   {"eos_token", "</s>"}, {"unk_token", "<unk>"},  {"sep_token", "</s>"},
                                    {"pad_token", "<pad>"}, {"cls_token", "<s>"},  {"mask_token", "<mask>"}};
  return kTokens;
}

const std::vector<TokenizerClass>& unigram_classes() {
  static const std::vector<TokenizerClass> kClasses{
      {"AlbertTokenizer", "Unigram", albert_tokens(), build_albert},
      {"CamembertTokenizer", "Unigram", roberta_tokens(), build_camembert},
      {"DebertaV2Tokenizer", "Unigram", deberta_v2_tokens(), build_deberta_v2},
      {"T5Tokenizer", "Unigram", {{"eos_token", "</s>"}, {"unk_token", "<unk>"}, {"pad_token", "<pad>"}}, build_t5},
      {"XLMRobertaTokenizer", "Unigram", roberta_tokens(), build_xlm_roberta},
  };
  return kClasses;
}

}  // namespace lora::tokenizer
