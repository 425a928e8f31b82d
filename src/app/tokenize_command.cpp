#include "lora/app/tokenize_command.h"

#include "app/flag_value.h"
#include "app/model_path.h"
#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/result_file.h"
#include "lora/base/text.h"
#include "lora/config/command_line.h"
#include "lora/data/chat.h"
#include "lora/data/rows.h"
#include "lora/data/tokenized_row.h"
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
    data_error(row.origin, "the row has no \"" + key + "\": found " +
                               (row.object.empty() ? "no keys" : join(keys_of(row.object), ", ", 6)) + ", expected " + expected);
  }
  return *found;
}

/// The chat template, which is loaded for the first row with messages.
class Chats {
 public:
  Chats(const TokenizeRequest& request, fs::path tokenizer_path, const tokenizer::Tokenizer& tokenizer)
      : request_(request), path_(std::move(tokenizer_path)), tokenizer_(tokenizer) {}

  const data::ChatEncoder& encoder() {
    if (!chat_template_) {
      chat_template_ = tokenizer::load_chat_template({request_.chat_template, {}, "--chat-template"}, path_, tokenizer_);
      if (!chat_template_) {
        config_error("--chat-template", "is required for messages, as the model has no chat template: found none, expected " +
                                            tokenizer::known_chat_templates());
      }
      chat_encoder_ = std::make_unique<data::ChatEncoder>(*chat_template_, tokenizer_);
    }
    return *chat_encoder_;
  }

 private:
  const TokenizeRequest& request_;
  fs::path path_;
  const tokenizer::Tokenizer& tokenizer_;
  std::unique_ptr<tokenizer::ChatTemplate> chat_template_;
  std::unique_ptr<data::ChatEncoder> chat_encoder_;
};

/// The output row, in the format of tokens rows.
Json row_json(const data::TokenizedRow& row) {
  Json result = Json::object();
  if (row.text) {
    result["text"] = *row.text;
  }
  result["input_ids"] = row.ids;
  if (row.has_mask) {
    result["mask"] = Json::array();
    for (const bool supervised : row.mask) {
      result["mask"].push_back(supervised ? 1 : 0);
    }
  }
  if (row.lengths.size() > 1) {
    result["seq_lengths"] = row.lengths;
  }
  return result;
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
  const auto options = config::read_model_flags({.model = request.model}, request.surroundings);
  require_path(options, "--model");
  const data::FileKind* const kind = data::file_kind(request.input);
  if (kind == nullptr) {
    config_error("--input", "found '" + request.input + "', expected a file name ending in " + data::known_endings());
  }
  const data::TextDocuments documents = flag_value(data::kTextDocuments, request.documents, "--documents");
  if (documents != data::TextDocuments::kLine && !kind->is_plain_text) {
    config_error("--documents", "is only for .txt files: found \"" + request.documents + "\" for " + request.input);
  }
  const ResultFile output(request.output, {options.path, options.tokenizer, request.input, request.chat_template});
  const std::unique_ptr<tokenizer::Tokenizer> tokenizer = tokenizer::load_tokenizer(options.tokenizer);
  Chats chats(request, options.tokenizer, *tokenizer);
  const data::RowTokenizer rows(
      *tokenizer, [&]() -> const data::ChatEncoder& { return chats.encoder(); }, flag_value(data::kTrainOn, request.train_on, "--train-on"),
      request.parse_special_tokens, tokenizer::ChatTemplateChoice{request.chat_template}.is_given());
  output.write([&](const Append& append) {
    const auto tokenize = [&](const data::Row& row) {
      throw_if_interrupted();
      const std::string line =
          (request.decode ? decoded(row, *tokenizer) : row_json(rows.tokenize(row, request.generation_prompt))).dump() + "\n";
      append(line.data(), line.size());
      return true;
    };
    data::read_rows(request.input, *kind, tokenize, documents);
  });
  return 0;
}

}  // namespace lora::app
