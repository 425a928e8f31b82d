#include "tokenizer/json/json_tokenizer.h"

#include <algorithm>
#include <map>

#include "lora/base/error.h"
#include "lora/base/input_file.h"
#include "lora/base/json.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "tokenizer/json/added_tokens.h"
#include "tokenizer/json/decoder.h"
#include "tokenizer/json/model.h"
#include "tokenizer/json/post_processor.h"
#include "tokenizer/json/pre_tokenizer.h"
#include "tokenizer/json/settings.h"
#include "tokenizer/space_symbol.h"
#include "tokenizer/token_alignment.h"
#include "tokenizer/valid_text.h"

namespace lora::tokenizer {
namespace {

const Json& section(const Json& file, const char* name) {
  static const Json null;
  const auto found = file.find(name);
  return found != file.end() ? *found : null;
}

class JsonTokenizer : public Tokenizer {
 public:
  JsonTokenizer(const std::filesystem::path& path, const Json& file)
      : where_(path.string()),
        files_{path},
        normalizers_(section(file, "normalizer"), where_ + ": normalizer"),
        pre_tokenizers_(section(file, "pre_tokenizer"), where_ + ": pre_tokenizer"),
        model_(load_model(section(file, "model"))),
        post_processors_(section(file, "post_processor"), where_ + ": post_processor"),
        decoders_(section(file, "decoder"), where_ + ": decoder") {
    has_byte_names_ = section(file, "pre_tokenizer").dump().find("\"ByteLevel\"") != std::string::npos ||
                      section(file, "normalizer").dump().find("\"ByteLevel\"") != std::string::npos;
    add_tokens(section(file, "added_tokens"));
  }

  void use_settings(const Settings& settings);
  void finish();

  std::vector<int32_t> encode(std::string_view text) const override { return encode(text, false, false); }
  std::vector<int32_t> encode_with_specials(std::string_view text, bool add_special_tokens) const override {
    return encode(text, true, add_special_tokens);
  }
  TypedIds around(const std::vector<int32_t>& first, const std::vector<int32_t>* second) const override {
    return post_processors_.around(first, second);
  }
  Encoding encode_with_spans(std::string_view text) const override;
  bool is_special(int32_t id) const override {
    const AddedToken* token = added_.find(id);
    return token != nullptr && token->special;
  }
  std::string decode(const std::vector<int32_t>& ids, bool show_special) const override;
  std::string token(int32_t id) const override;

  int64_t vocab_size() const override { return std::max(model_->vocabulary().end(), added_.end()); }
  std::optional<int32_t> bos_id() const override { return bos_; }
  std::optional<int32_t> eos_id() const override { return eos_; }
  bool add_bos() const override { return add_bos_; }
  bool add_eos() const override { return add_eos_; }
  std::vector<std::filesystem::path> files() const override { return files_; }

 private:
  std::unique_ptr<Model> load_model(const Json& model) {
    const std::string where = where_ + ": model";
    return read_model(model, where, can_read_bytes(model, where) && pre_tokenizers_.leave_bytes());
  }

  void add_tokens(const Json& tokens);
  void check_around(const std::vector<int32_t>& ids) const;
  std::optional<int32_t> id_of(const std::string& token) const;
  std::optional<std::string> text_of(int32_t id) const;
  std::vector<int32_t> encode(std::string_view text, bool with_special, bool add_special_tokens) const;
  void encode_segment(std::string_view text, bool is_start, bool with_special, std::vector<int32_t>& ids) const;
  int32_t required_id(const std::string& token, const char* role) const;
  std::vector<std::string> bytes_of(const std::vector<int32_t>& ids) const;

  std::string where_;
  std::vector<std::filesystem::path> files_;
  Normalizers normalizers_;
  PreTokenizers pre_tokenizers_;
  std::unique_ptr<Model> model_;
  PostProcessors post_processors_;
  Decoders decoders_;
  AddedTokens added_;
  std::optional<int32_t> bos_;
  std::optional<int32_t> eos_;
  bool add_bos_ = false;
  bool add_eos_ = false;
  bool has_byte_names_ = false;  ///< tokens spell bytes as ByteLevel does
};

void JsonTokenizer::add_tokens(const Json& tokens) {
  const std::string where = where_ + ": added_tokens";
  if (!tokens.is_null() && !tokens.is_array()) {
    model_error(where, "found " + type_name(tokens) + ", expected an array of tokens.");
  }
  std::vector<AddedToken> added;
  for (size_t i = 0; i < tokens.size(); ++i) {
    added.push_back(read_added_token(tokens[i], where + "[" + std::to_string(i) + "]"));
  }
  added_.add(added, model_->vocabulary(), normalizers_, where);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int64_t expected = JsonReader(tokens[i], where + "[" + std::to_string(i) + "]", ErrorKind::kModel).integer("id");
    const auto id = added_.id(added[i].content);
    if (id && *id != expected) {
      log::warn(where + ": " + printable(added[i].content) + " has the id " + std::to_string(*id) + ", as in `tokenizers`; the file says " +
                std::to_string(expected));
    }
  }
}

void JsonTokenizer::check_around(const std::vector<int32_t>& ids) const {
  for (const int32_t id : ids) {
    if (!text_of(id)) {
      model_error(where_ + ": post_processor",
                  "puts the id " + std::to_string(id) + " around a text, which no token has. Likely cause: files of two models mixed.");
    }
  }
}

// What transformers adds to the tokenizers it loads: the tokens of added_tokens_decoder, and that tokens with a role are special.
// A token with a role that the tokenizer does not have stays unknown: no model has a row for it.
void JsonTokenizer::use_settings(const Settings& settings) {
  std::vector<AddedToken> added;
  for (const AddedToken& token : settings.added_tokens) {
    if (!added_.id(token.content)) {
      added.push_back(token);
    }
  }
  added_.add(added, model_->vocabulary(), normalizers_, where_);
  added.clear();
  for (const std::string& name : settings.special_tokens) {
    const auto id = id_of(name);
    const AddedToken* known = id ? added_.find(*id) : nullptr;
    if (id && (known == nullptr || !known->special)) {
      AddedToken token = known != nullptr ? *known : AddedToken{name};
      token.special = true;
      added.push_back(std::move(token));
    }
  }
  added_.add(added, model_->vocabulary(), normalizers_, where_);
  bos_ = settings.bos_token ? std::optional(required_id(*settings.bos_token, "bos_token")) : settings.bos_id;
  eos_ = settings.eos_token ? std::optional(required_id(*settings.eos_token, "eos_token")) : settings.eos_id;
  files_.insert(files_.end(), settings.files.begin(), settings.files.end());
}

// The post-processor says what stands around a text; where it puts one token on a side, that is the BOS or the EOS.
void JsonTokenizer::finish() {
  added_.prepare();
  for (auto* side : {&bos_, &eos_}) {
    if (*side && !text_of(**side)) {
      side->reset();  // config.json's belongs to another tokenizer
    }
  }
  const auto before = post_processors_.before();
  const auto after = post_processors_.after();
  check_around(before);
  check_around(after);
  if (before.size() > 1 || after.size() > 1) {
    log::warn(where_ + ": its post_processor puts several tokens on a side of a text; only lora-tokenize writes them");
  }
  add_bos_ = before.size() == 1;
  add_eos_ = after.size() == 1;
  bos_ = add_bos_ ? before.front() : bos_;
  eos_ = add_eos_ ? after.front() : eos_;
}

int32_t JsonTokenizer::required_id(const std::string& token, const char* role) const {
  const auto id = id_of(token);
  if (!id) {
    model_error(where_, std::string(role) + " of tokenizer_config.json is " + printable(token) +
                            ", which is no token. Likely cause: files of two models in one folder.");
  }
  return *id;
}

std::optional<int32_t> JsonTokenizer::id_of(const std::string& token) const {
  const auto added = added_.id(token);
  return added ? added : model_->vocabulary().id(token);
}

std::optional<std::string> JsonTokenizer::text_of(int32_t id) const {
  if (const std::string* added = added_.decoded(id)) {
    return *added;
  }
  const auto token = model_->vocabulary().token(id);
  return token ? std::optional<std::string>(*token) : std::nullopt;
}

std::vector<int32_t> JsonTokenizer::encode(std::string_view text, bool with_special, bool add_special_tokens) const {
  check_text(text);
  std::vector<int32_t> ids;
  for (const AddedTokens::Part& part : added_.cut(text, /*normalized=*/false, with_special)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
    } else {
      encode_segment(text.substr(part.begin, part.end - part.begin), part.begin == 0, with_special, ids);
    }
  }
  return post_processors_.process(std::move(ids), add_special_tokens);
}

void JsonTokenizer::encode_segment(std::string_view text, bool is_start, bool with_special, std::vector<int32_t>& ids) const {
  const AlignedText normal = normalizers_.normalize(text, is_start);
  const Piece whole{normal.text, normal.num_first};
  for (const AddedTokens::Part& part : added_.cut(normal.text, /*normalized=*/true, with_special)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
      continue;
    }
    Pieces pieces{{whole.text.substr(part.begin, part.end - part.begin), whole.num_first > part.begin ? whole.num_first - part.begin : 0}};
    Arena arena;
    pre_tokenizers_.cut(pieces, arena);
    model_->encode(pieces, ids);
  }
}

Encoding JsonTokenizer::encode_with_spans(std::string_view text) const {
  check_text(text);
  Encoding encoding;
  for (const AddedTokens::Part& part : added_.cut(text, /*normalized=*/false, /*with_special=*/true)) {
    if (part.id >= 0) {
      encoding.ids.push_back(part.id);
      encoding.spans.push_back({part.begin, part.end});
      continue;
    }
    std::vector<int32_t> ids;
    const std::string_view segment = text.substr(part.begin, part.end - part.begin);
    encode_segment(segment, part.begin == 0, /*with_special=*/true, ids);
    for (const TextSpan& span : align_tokens(segment, bytes_of(ids))) {
      encoding.spans.push_back({part.begin + span.begin, part.begin + span.end});
    }
    encoding.ids.insert(encoding.ids.end(), ids.begin(), ids.end());
  }
  encoding.ids = post_processors_.process(std::move(encoding.ids), /*add_special_tokens=*/false);
  return encoding;
}

std::vector<std::string> JsonTokenizer::bytes_of(const std::vector<int32_t>& ids) const {
  std::vector<std::string> bytes;
  for (const int32_t id : ids) {
    const AddedToken* added = added_.find(id);
    bytes.push_back(added != nullptr ? added->content : token_bytes(text_of(id).value_or(""), has_byte_names_));
  }
  return bytes;
}

std::string JsonTokenizer::decode(const std::vector<int32_t>& ids, bool show_special) const {
  std::vector<std::string> tokens;
  for (const int32_t id : ids) {
    auto text = text_of(id);
    if (text && (show_special || !added_.is_special(*text))) {
      tokens.push_back(std::move(*text));
    }
  }
  return decoders_.decode(std::move(tokens));
}

std::string JsonTokenizer::token(int32_t id) const {
  if (const AddedToken* added = added_.find(id)) {
    return added->content;
  }
  const auto text = text_of(id);
  if (!text) {
    return "<id " + std::to_string(id) + ">";
  }
  return text->find(kSpaceSymbol) == std::string::npos ? decoders_.decode({*text}) : with_spaces(*text);
}

}  // namespace

std::unique_ptr<Tokenizer> load_json_tokenizer(const std::filesystem::path& file, bool has_settings) {
  const Json json = read_json(file, ErrorKind::kModel, kTokenizerFile);
  if (!json.is_object()) {
    model_error(file.string(), "found " + type_name(json) + ", expected an object with a section \"model\".");
  }
  auto tokenizer = std::make_unique<JsonTokenizer>(file, json);
  if (has_settings) {
    tokenizer->use_settings(read_settings(file.parent_path()));
  }
  tokenizer->finish();
  return tokenizer;
}

}  // namespace lora::tokenizer
