#include "tokenizer/json/bert_normalizer.h"

#include "tokenizer/json/character_steps.h"
#include "tokenizer/json/component.h"
#include "tokenizer/unicode/normal_form.h"
#include "tokenizer/unicode/properties.h"

namespace lora::tokenizer {
namespace {

// The blocks of CJK ideographs of the original BERT.
constexpr CodePoints::Range kIdeographs[] = {{0x4e00, 0x9fff},   {0x3400, 0x4dbf},   {0x20000, 0x2a6df}, {0x2a700, 0x2b73f},
                                             {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf}, {0xf900, 0xfaff},   {0x2f800, 0x2fa1f}};

bool is_ideograph(char32_t code) {
  for (const CodePoints::Range& block : kIdeographs) {
    if (code >= block.first && code <= block.last) {
      return true;
    }
  }
  return false;
}

struct BertOptions {
  bool clean_text = true;
  bool handle_chinese_chars = true;
  bool strip_accents = true;
  bool lowercase = true;
};

class BertNormalizer : public Normalizer {
 public:
  explicit BertNormalizer(BertOptions options) : options_(options) {}

  AlignedText normalize(AlignedText text) const override {
    if (options_.clean_text) {
      text = cleaned(text);
    }
    if (options_.handle_chinese_chars) {
      text = with_ideographs_apart(text);
    }
    if (options_.strip_accents) {
      text = without(to_normal_form(std::move(text), NormalForm::kNfd), is_accent);
    }
    return options_.lowercase ? to_lowercase(text) : text;
  }

 private:
  static AlignedText cleaned(const AlignedText& text) {
    return for_each_character(text, [](char32_t code, std::string& out) {
      if (!is_control(code)) {
        append_utf8(out, is_space(code) ? U' ' : code);
      }
    });
  }

  static AlignedText with_ideographs_apart(const AlignedText& text) {
    return for_each_character(text, [](char32_t code, std::string& out) {
      const char* space = is_ideograph(code) ? " " : "";
      out += space;
      append_utf8(out, code);
      out += space;
    });
  }

  BertOptions options_;
};

}  // namespace

std::unique_ptr<Normalizer> read_bert_normalizer(const JsonReader& reader) {
  BertOptions options;
  options.clean_text = required_boolean(reader, "clean_text");
  options.handle_chinese_chars = required_boolean(reader, "handle_chinese_chars");
  options.lowercase = required_boolean(reader, "lowercase");
  options.strip_accents = reader.boolean("strip_accents", options.lowercase);
  return std::make_unique<BertNormalizer>(options);
}

}  // namespace lora::tokenizer
