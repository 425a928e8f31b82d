#pragma once
#include <cstdint>
#include <vector>

#include "lora/base/json.h"
#include "lora/tokenizer/tokenizer.h"
#include "tokenizer/json/token_table.h"

namespace lora::tokenizer {

/// The special tokens that stand around a text, as the section "post_processor" says.
class PostProcessors {
 public:
  /// `section` may be null. Throws model Error naming `where` (the section) for a damaged one, an unknown type, and a template
  /// with a special token that it does not define, or one for a single text with the second of a pair.
  PostProcessors(const Json& section, const std::string& where);

  /// The text's ids with what belongs around them; without special tokens a template may still leave the text out or say it
  /// twice.
  std::vector<int32_t> process(std::vector<int32_t> ids, bool add_special_tokens) const;
  /// The same of one text or two, with the types that the templates give. `second` may be null.
  TypedIds around(const std::vector<int32_t>& first, const std::vector<int32_t>* second) const;
  /// What stands before a text and behind it.
  std::vector<int32_t> before() const;
  std::vector<int32_t> after() const;

 private:
  enum class Text { kNone, kFirst, kSecond };
  /// A part of a template: a text, or special tokens.
  struct Part {
    Text text = Text::kNone;
    std::vector<int32_t> ids;
    int32_t type = 0;
  };
  using Parts = std::vector<Part>;
  struct Template {
    Parts single, pair;
  };

  void read(const std::string& type, const JsonReader& reader);
  static Parts read_parts(const JsonReader& reader, const std::string& key);
  static Template read_template(const JsonReader& reader);
  static Template read_bert(const JsonReader& reader);
  static Template read_roberta(const JsonReader& reader);

  std::vector<Template> templates_;  ///< one after the other
};

}  // namespace lora::tokenizer
