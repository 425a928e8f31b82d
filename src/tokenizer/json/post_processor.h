#pragma once
#include <cstdint>
#include <vector>

#include "lora/base/json.h"
#include "tokenizer/json/token_table.h"

namespace lora::tokenizer {

/// The special tokens that stand around a text, as the section "post_processor" says.
class PostProcessors {
 public:
  /// `section` may be null. Throws model Error naming `where` (the section) for a damaged one, an unknown type, and a template
  /// with a special token that it does not define or with the second text of a pair.
  PostProcessors(const Json& section, const std::string& where);

  /// The text's ids with what belongs around them; without special tokens a template may still leave the text out or say it
  /// twice.
  std::vector<int32_t> process(std::vector<int32_t> ids, bool add_special_tokens) const;
  /// What stands before a text and behind it.
  std::vector<int32_t> before() const;
  std::vector<int32_t> after() const;

 private:
  /// A part of a template: the text, or special tokens.
  struct Part {
    bool is_text = false;
    std::vector<int32_t> ids;
  };
  using Template = std::vector<Part>;

  void read(const std::string& type, const JsonReader& reader);
  static Template read_template(const JsonReader& reader);
  static Template read_around(const JsonReader& reader);

  std::vector<Template> templates_;  ///< one after the other
};

}  // namespace lora::tokenizer
