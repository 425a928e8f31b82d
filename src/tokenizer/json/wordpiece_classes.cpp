#include "tokenizer/json/class_builders.h"
#include "tokenizer/json/class_parts.h"

namespace lora::tokenizer {
namespace {

void build_bert(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  file["normalizer"] = {{"type", "BertNormalizer"},
                        {"clean_text", true},
                        {"handle_chinese_chars", settings.tokenize_chinese_chars.value_or(true)},
                        {"strip_accents", settings.strip_accents ? Json(*settings.strip_accents) : Json(nullptr)},
                        {"lowercase", settings.do_lower_case.value_or(true)}};
  file["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  file["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  set_model(file, {{"unk_token", text_of(settings, "unk_token")}, {"continuing_subword_prefix", "##"}, {"max_input_chars_per_word", 100}});
  traits.around_text = cls_and_sep_around(settings);
}

void build_mpnet(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  build_bert(settings, file, traits);
  traits.around_text = roberta_around(settings);
}

}  // namespace

const std::vector<TokenizerClass>& wordpiece_classes() {
  static const std::vector<TokenizerClass> kClasses{
      {"BertTokenizer",
       "WordPiece",
       {{"unk_token", "[UNK]"}, {"sep_token", "[SEP]"}, {"pad_token", "[PAD]"}, {"cls_token", "[CLS]"}, {"mask_token", "[MASK]"}},
       build_bert},
      {"MPNetTokenizer",
       "WordPiece",
       {{"bos_token", "<s>"},
        {"eos_token", "</s>"},
        {"unk_token", "[UNK]"},
        {"sep_token", "</s>"},
        {"pad_token", "<pad>"},
        {"cls_token", "<s>"},
        {"mask_token", "<mask>"}},
       build_mpnet},
  };
  return kClasses;
}

}  // namespace lora::tokenizer
