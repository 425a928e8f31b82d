#include "data/specials.h"

namespace lora::data {

std::vector<int32_t> with_specials(const std::string& text, const tokenizer::Tokenizer& tokenizer, bool append_eos) {
  std::vector<int32_t> ids = tokenizer.encode(text);
  const auto bos = tokenizer.bos_id();
  if (tokenizer.add_bos() && bos && (ids.empty() || ids.front() != *bos)) {
    ids.insert(ids.begin(), *bos);
  }
  const auto eos = tokenizer.eos_id();
  if (append_eos && eos && (ids.empty() || ids.back() != *eos)) {
    ids.push_back(*eos);
  }
  return ids;
}

}  // namespace lora::data
