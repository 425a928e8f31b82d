#include "lora/tokenizer/fixed_length.h"

#include <algorithm>
#include <map>
#include <string>

#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::tokenizer {

namespace {

std::string place_of(const Tokenizer& tokenizer) {
  const std::vector<std::filesystem::path> files = tokenizer.files();
  return files.empty() ? "tokenizer" : files.front().string();
}

/// The id of the pad token, which is special and hence one id wherever it is in a text.
int32_t pad_id(const Tokenizer& tokenizer) {
  const std::map<std::string, std::string> names = tokenizer.named_tokens();
  const auto found = names.find("pad_token");
  if (found == names.end()) {
    model_error(place_of(tokenizer), "has no pad_token, expected one, because texts are padded to one length");
  }
  const std::vector<int32_t> ids = tokenizer.encode_with_specials(found->second, /*add_special_tokens=*/false);
  if (ids.size() != 1) {
    model_error(place_of(tokenizer), "the pad_token '" + printable(found->second) + "' is not one token: found " +
                                         std::to_string(ids.size()) + " ids, expected 1");
  }
  return ids.front();
}

}  // namespace

FixedLengthIds encode_to_length(const Tokenizer& tokenizer, std::string_view text, int64_t length) {
  FixedLengthIds result;
  std::vector<int32_t> of_text = tokenizer.encode_with_specials(text, /*add_special_tokens=*/false);
  const auto around = static_cast<int64_t>(tokenizer.around({}, nullptr).ids.size());
  const int64_t room = std::max<int64_t>(length - around, 0);
  if (static_cast<int64_t>(of_text.size()) > room) {
    result.num_cut = static_cast<int64_t>(of_text.size()) - room;
    of_text.resize(static_cast<size_t>(room));
  }
  result.ids = tokenizer.around(of_text, nullptr).ids;
  result.ids.resize(static_cast<size_t>(length), pad_id(tokenizer));
  return result;
}

}  // namespace lora::tokenizer
