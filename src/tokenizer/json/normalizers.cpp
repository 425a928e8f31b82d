#include <algorithm>

#include "tokenizer/json/bert_normalizer.h"
#include "tokenizer/json/byte_level.h"
#include "tokenizer/json/character_steps.h"
#include "tokenizer/json/charsmap.h"
#include "tokenizer/json/component.h"
#include "tokenizer/json/normalizer.h"
#include "tokenizer/json/text_pattern.h"
#include "tokenizer/unicode/normal_form.h"
#include "tokenizer/unicode/properties.h"

namespace lora::tokenizer {

AlignedText to_lowercase(const AlignedText& input) {
  constexpr char32_t kCapitalIWithDot = 0x130;  // the only letter whose lower case has two code points
  return for_each_character(input, [](char32_t code, std::string& out) {
    append_utf8(out, lowercase(code));
    if (code == kCapitalIWithDot) {
      append_utf8(out, 0x307);
    }
  });
}

namespace {

/// A normalizer that only depends on the text.
class Function : public Normalizer {
 public:
  explicit Function(AlignedText (*function)(AlignedText)) : function_(function) {}
  AlignedText normalize(AlignedText text) const override { return function_(std::move(text)); }

 private:
  AlignedText (*function_)(AlignedText);
};

template <NormalForm form>
std::unique_ptr<Normalizer> read_form(const JsonReader&) {
  return std::make_unique<Function>([](AlignedText text) { return to_normal_form(std::move(text), form); });
}

// The characters that SentencePiece's NMT rules remove, and those that they replace by a space.
bool nmt_removes(char32_t code) {
  return (code >= 0x01 && code <= 0x08) || code == 0x0b || (code >= 0x0e && code <= 0x1f) || code == 0x7f || code == 0x8f || code == 0x9f;
}
bool nmt_space(char32_t code) {
  constexpr char32_t kSpaces[] = {0x09, 0x0a, 0x0c, 0x0d, 0x1680, 0x2028, 0x2029, 0x2581, 0xfeff, 0xfffd};
  return (code >= 0x200b && code <= 0x200f) || std::find(std::begin(kSpaces), std::end(kSpaces), code) != std::end(kSpaces);
}

std::unique_ptr<Normalizer> read_nmt(const JsonReader&) {
  return std::make_unique<Function>([](AlignedText text) {
    return for_each_character(text, [](char32_t code, std::string& out) {
      if (!nmt_removes(code)) {
        append_utf8(out, nmt_space(code) ? U' ' : code);
      }
    });
  });
}

std::unique_ptr<Normalizer> read_lowercase(const JsonReader&) {
  return std::make_unique<Function>([](AlignedText text) { return to_lowercase(text); });
}

std::unique_ptr<Normalizer> read_strip_accents(const JsonReader&) {
  return std::make_unique<Function>([](AlignedText text) { return without(text, is_mark); });
}

std::unique_ptr<Normalizer> read_byte_level_normalizer(const JsonReader&) {
  return std::make_unique<Function>([](AlignedText text) {
    return for_each_character(text, [](char32_t code, std::string& out) {
      std::string bytes;
      append_utf8(bytes, code);
      out = spell_bytes(bytes);
    });
  });
}

class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}

  AlignedText normalize(AlignedText text) const override {
    size_t begin = 0;
    size_t end = text.text.size();
    for (size_t at = 0; left_ && at < end && is_space(next_code_point(text.text, at));) {
      begin = at;
    }
    while (right_ && end > begin) {
      size_t at = previous_begin(text.text, end);
      const size_t last = at;
      if (!is_space(next_code_point(text.text, at))) {
        break;
      }
      end = last;
    }
    AlignedWriter writer(text);
    writer.copy(text.text, begin, end - begin);
    return writer.take();
  }

 private:
  bool left_;
  bool right_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}

  AlignedText normalize(AlignedText text) const override {
    if (text.text.empty()) {
      return text;
    }
    return {prefix_ + text.text, text.num_first > 0 ? prefix_.size() + text.num_first : 0};
  }

 private:
  std::string prefix_;
};

class Replace : public Normalizer {
 public:
  Replace(TextPattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}

  AlignedText normalize(AlignedText text) const override {
    const std::vector<Span> matches = pattern_.find_all(text.text);
    if (matches.empty()) {
      return text;
    }
    AlignedWriter writer(text);
    size_t done = 0;
    for (const Span& match : matches) {
      writer.copy(text.text, done, match.begin - done);
      writer.put(content_, match.end > 0 ? match.end - 1 : 0);
      done = match.end;
    }
    writer.copy(text.text, done, text.text.size() - done);
    return writer.take();
  }

 private:
  TextPattern pattern_;
  std::string content_;
};

class Precompiled : public Normalizer {
 public:
  explicit Precompiled(Charsmap charsmap) : charsmap_(std::move(charsmap)) {}
  AlignedText normalize(AlignedText text) const override { return charsmap_.normalize(text); }

 private:
  Charsmap charsmap_;
};

std::unique_ptr<Normalizer> read_strip(const JsonReader& reader) {
  return std::make_unique<Strip>(required_boolean(reader, "strip_left"), required_boolean(reader, "strip_right"));
}
std::unique_ptr<Normalizer> read_prepend(const JsonReader& reader) {
  return std::make_unique<Prepend>(reader.string("prepend"));
}
std::unique_ptr<Normalizer> read_replace(const JsonReader& reader) {
  return std::make_unique<Replace>(TextPattern(reader), reader.string("content"));
}
std::unique_ptr<Normalizer> read_precompiled(const JsonReader& reader) {
  const std::string where = reader.where() + ".precompiled_charsmap";
  return std::make_unique<Precompiled>(Charsmap(decode_base64(reader.string("precompiled_charsmap"), where), where));
}

constexpr ComponentKind<std::unique_ptr<Normalizer>> kNormalizers[] = {
    {"BertNormalizer", read_bert_normalizer},
    {"ByteLevel", read_byte_level_normalizer},
    {"Lowercase", read_lowercase},
    {"NFC", read_form<NormalForm::kNfc>},
    {"NFD", read_form<NormalForm::kNfd>},
    {"NFKC", read_form<NormalForm::kNfkc>},
    {"NFKD", read_form<NormalForm::kNfkd>},
    {"Nmt", read_nmt},
    {"Precompiled", read_precompiled},
    {"Prepend", read_prepend},
    {"Replace", read_replace},
    {"Strip", read_strip},
    {"StripAccents", read_strip_accents},
};

}  // namespace

Normalizers::Normalizers(const Json& section, const std::string& where) {
  for_each_component(section, "normalizers", where, [this](const std::string& type, const JsonReader& reader) {
    steps_.push_back(find_kind(kNormalizers, type, reader.where()).read(reader));
  });
}

AlignedText Normalizers::normalize(std::string_view text, bool is_start) const {
  AlignedText result{std::string(text), is_start && !text.empty() ? utf8_length(static_cast<unsigned char>(text.front())) : 0};
  for (const auto& step : steps_) {
    result = step->normalize(std::move(result));
  }
  return result;
}

}  // namespace lora::tokenizer
