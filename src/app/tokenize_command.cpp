#include "lora/app/tokenize_command.h"

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/interrupt.h"
#include "lora/base/text.h"
#include "lora/config/command_line.h"
#include "lora/data/rows.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::app {

namespace {

std::vector<std::string> keys_of(const Json& row) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : row.items()) {
    keys.push_back(key);
  }
  return keys;
}

const Json& field(const data::Row& row, const std::string& key, const std::string& expected) {
  const auto found = row.object.find(key);
  if (found == row.object.end()) {
    data_error(row.origin, "found a row with " + (row.object.empty() ? "no keys" : join(keys_of(row.object), ", ", 6)) + ", expected " +
                               expected + " as \"" + key + "\"");
  }
  return *found;
}

Json encoded(const data::Row& row, const tokenizer::Tokenizer& tokenizer) {
  const Json& text = field(row, "text", "a text");
  if (!text.is_string()) {
    data_error(row.origin + ": text", "found " + type_name(text) + ", expected a string");
  }
  return {{"input_ids", tokenizer.encode_with_specials(text.get_ref<const std::string&>(), /*add_special_tokens=*/true)}};
}

Json decoded(const data::Row& row, const tokenizer::Tokenizer& tokenizer) {
  const Json& ids = field(row, "input_ids", "ids");
  std::vector<int32_t> tokens;
  for (const Json& id : ids.is_array() ? ids : Json::array({nullptr})) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= tokenizer.vocab_size()) {
      data_error(row.origin + ": input_ids",
                 "found " + shown(ids) + ", expected an array of ids from 0 to " + std::to_string(tokenizer.vocab_size() - 1));
    }
    tokens.push_back(id.get<int32_t>());
  }
  return {{"text", tokenizer.decode(tokens, /*show_special=*/true)}};
}

}  // namespace

int tokenize_command(const TokenizeRequest& request) {
  const auto options = config::read_model_flags(request.model, "", "auto", "auto", request.surroundings);
  const auto kind = data::file_kind(request.input);
  if (!kind) {
    config_error("--input", "found '" + request.input + "', expected a file named " + data::known_endings());
  }
  const std::unique_ptr<tokenizer::Tokenizer> tokenizer = tokenizer::load_tokenizer(options.tokenizer);
  const auto convert = request.decode ? decoded : encoded;
  write_file_atomically(request.output, [&](const Append& append) {
    data::read_rows(request.input, *kind, [&](const data::Row& row) {
      check_interrupt();
      const std::string line = convert(row, *tokenizer).dump() + "\n";
      append(line.data(), line.size());
      return true;
    });
  });
  return 0;
}

}  // namespace lora::app
