#include "lora/data/text_ids.h"

#include <atomic>

#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

void warn_of_two_bos(const TextRule& rule, int32_t bos, const std::string& where) {
  static std::atomic<bool> warned = false;
  if (!warned.exchange(true)) {
    log::warn("[" + where + "] the text begins with " + printable(rule.tokenizer.token(bos)) +
              ", and this tokenizer adds one to every text: there are two, as in transformers. Remove it from the text (reported once).");
  }
}

// TRL checks the text. If special tokens are not parsed, the text of EOS is not an EOS token.
bool ends_with_eos(const std::vector<int32_t>& ids, const std::string& text, const TextRule& rule, int32_t eos) {
  return !ids.empty() && ids.back() == eos && text.ends_with(rule.tokenizer.token(eos));
}

}  // namespace

std::vector<int32_t> text_ids(const std::string& text, const TextRule& rule) {
  return rule.parse_special_tokens ? rule.tokenizer.encode_with_specials(text, /*add_special_tokens=*/false) : rule.tokenizer.encode(text);
}

std::vector<int32_t> prompt_ids(const std::string& text, const TextRule& rule, const std::string& where) {
  std::vector<int32_t> ids = text_ids(text, rule);
  const auto bos = rule.tokenizer.bos_id();
  if (rule.tokenizer.add_bos() && bos) {
    if (!ids.empty() && ids.front() == *bos) {
      warn_of_two_bos(rule, *bos, where);
    }
    ids.insert(ids.begin(), *bos);
  }
  return ids;
}

std::vector<int32_t> document_ids(const std::string& text, const std::string& last, const TextRule& rule, bool append_eos,
                                  const std::string& where) {
  std::vector<int32_t> ids = prompt_ids(text, rule, where);
  const auto eos = rule.tokenizer.eos_id();
  if (eos && (rule.tokenizer.add_eos() || (append_eos && !ends_with_eos(ids, last, rule, *eos)))) {
    ids.push_back(*eos);
  }
  return ids;
}

}  // namespace lora::data
