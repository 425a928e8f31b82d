#pragma once
#include <cstdint>
#include <vector>

#include "lora/base/json.h"
#include "lora/tokenizer/tokenizer.h"
#include "tokenizer/json/token_table.h"

namespace lora::tokenizer {

/// The special tokens around a text according to the section "post_processor".
class PostProcessors {
 public:
  /// `section` may be null. Throws model Error naming `where` (the section) if it is damaged, has an unknown type, has a template with
  /// an undefined special token, or a template for a single text that contains the second text of a pair.
  PostProcessors(const Json& section, const std::string& where);

  /// The text's ids with the tokens around them; even without special tokens, a template may omit or repeat the text.
  std::vector<int32_t> process(std::vector<int32_t> ids, bool add_special_tokens) const;
  /// The same for one or two texts, with the types that the templates give. `second` may be null.
  TypedIds around(const std::vector<int32_t>& first, const std::vector<int32_t>* second) const;
  /// The tokens before a text and after it.
  std::vector<int32_t> before() const;
  std::vector<int32_t> after() const;

 private:
  enum class Text { kNone, kFirst, kSecond };
  /// A part of a template: a text, or special tokens.
  struct TemplatePart {
    Text text = Text::kNone;
    std::vector<int32_t> ids;
    int32_t type = 0;
  };
  using Parts = std::vector<TemplatePart>;
  struct Template {
    Parts single, pair;
  };

  void read(const std::string& type, const JsonReader& reader);
  static Parts read_parts(const JsonReader& reader, const std::string& key);
  static Template read_template(const JsonReader& reader);
  static Template read_bert(const JsonReader& reader);
  static Template read_roberta(const JsonReader& reader);

  std::vector<Template> templates_;  ///< applied in this order
};

}  // namespace lora::tokenizer
