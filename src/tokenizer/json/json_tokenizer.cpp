#include "tokenizer/json/json_tokenizer.h"

#include <algorithm>
#include <map>

#include "lora/base/error.h"
#include "lora/base/input_file.h"
#include "lora/base/json.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "tokenizer/folder_settings.h"
#include "tokenizer/json/added_tokens.h"
#include "tokenizer/json/class_pipeline.h"
#include "tokenizer/json/decoder.h"
#include "tokenizer/json/file_settings.h"
#include "tokenizer/json/model.h"
#include "tokenizer/json/post_processor.h"
#include "tokenizer/json/pre_tokenizer.h"
#include "tokenizer/json/vocabulary_files.h"
#include "tokenizer/known_keys.h"
#include "tokenizer/space_symbol.h"
#include "tokenizer/token_alignment.h"
#include "tokenizer/tokenizer_class.h"
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
  /// `files`: the files from which `file` was read; messages name the first.
  JsonTokenizer(const std::vector<std::filesystem::path>& files, const Json& file)
      : where_(files.front().string()),
        files_(files),
        normalizers_(section(file, "normalizer"), where_ + ": normalizer"),
        pre_tokenizers_(section(file, "pre_tokenizer"), where_ + ": pre_tokenizer"),
        model_(load_model(section(file, "model"))),
        post_processors_(section(file, "post_processor"), where_ + ": post_processor"),
        decoders_(section(file, "decoder"), where_ + ": decoder") {
    has_byte_names_ = section(file, "pre_tokenizer").dump().find("\"ByteLevel\"") != std::string::npos ||
                      section(file, "normalizer").dump().find("\"ByteLevel\"") != std::string::npos;
    add_tokens(section(file, "added_tokens"));
  }

  void use_settings(const FolderSettings& settings, const ClassTraits& traits);
  void finish(const FolderSettings& settings);

  std::vector<int32_t> encode(std::string_view text) const override { return encode(text, false, false); }
  std::vector<int32_t> encode_with_specials(std::string_view text, bool add_special_tokens) const override {
    return encode(text, !splits_special_, add_special_tokens);
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

  int64_t vocab_size() const override { return vocab_size_; }
  std::optional<int32_t> bos_id() const override { return bos_; }
  std::optional<int32_t> eos_id() const override { return eos_; }
  std::map<std::string, std::string> named_tokens() const override { return named_; }
  std::string identity() const override { return class_ + " " + Tokenizer::identity(); }
  bool add_bos() const override { return add_bos_; }
  bool add_eos() const override { return add_eos_; }
  std::vector<std::filesystem::path> files() const override { return files_; }

 private:
  std::unique_ptr<TokenModel> load_model(const Json& model) {
    const std::string where = where_ + ": model";
    is_bpe_ = can_read_bytes(model, where);
    return read_model(model, where, is_bpe_ && pre_tokenizers_.leave_bytes());
  }

  void add_tokens(const Json& tokens);
  void warn_of_other_ids(const std::map<int64_t, AddedToken>& tokens) const;
  void add_roles(const FolderSettings& settings);
  void warn_of_ends(const char* key, std::optional<bool> needed, bool is_so) const;
  void check_around(const std::vector<int32_t>& ids) const;
  std::optional<int32_t> id_of(const std::string& token) const;
  std::optional<std::string> text_of(int32_t id) const;
  std::vector<int32_t> encode(std::string_view text, bool with_special, bool add_special_tokens) const;
  void encode_segment(std::string_view text, bool is_start, bool with_special, std::vector<int32_t>& ids) const;
  std::optional<int32_t> id_of_role(const AddedToken* role, std::optional<int32_t> otherwise) const;
  std::vector<std::string> bytes_of(const std::vector<int32_t>& ids) const;

  std::string where_;
  std::vector<std::filesystem::path> files_;
  bool is_bpe_ = false;
  Normalizers normalizers_;
  PreTokenizers pre_tokenizers_;
  std::unique_ptr<TokenModel> model_;
  PostProcessors post_processors_;
  Decoders decoders_;
  AddedTokens added_;
  std::optional<int32_t> bos_;
  std::optional<int32_t> eos_;
  std::map<std::string, std::string> named_;
  std::string class_;  ///< the class in transformers
  bool add_bos_ = false;
  bool add_eos_ = false;
  int64_t vocab_size_ = 0;       ///< without tokens that were added for a role
  bool splits_special_ = false;  ///< special tokens in texts are plain text
  bool cleans_up_ = false;       ///< decoded text loses spaces before punctuation
  bool has_byte_names_ = false;  ///< tokens spell bytes as ByteLevel does
};

void JsonTokenizer::add_tokens(const Json& tokens) {
  const std::string where = where_ + ": added_tokens";
  if (!tokens.is_null() && !tokens.is_array()) {
    model_error(where, "found " + type_name(tokens) + ", expected an array of tokens");
  }
  std::vector<AddedToken> added;
  for (size_t i = 0; i < tokens.size(); ++i) {
    added.push_back(read_added_token(tokens[i], where + "[" + std::to_string(i) + "]"));
  }
  added_.add(added, model_->vocabulary(), normalizers_, where);
  std::map<int64_t, AddedToken> by_id;
  for (size_t i = 0; i < tokens.size(); ++i) {
    by_id[JsonReader(tokens[i], where + "[" + std::to_string(i) + "]", ErrorKind::kModel).integer("id")] = std::move(added[i]);
  }
  warn_of_other_ids(by_id);
  vocab_size_ = std::max(model_->vocabulary().end(), added_.end());
}

void JsonTokenizer::warn_of_other_ids(const std::map<int64_t, AddedToken>& tokens) const {
  std::vector<std::string> moved;
  for (const auto& [expected, token] : tokens) {
    const auto id = added_.id(token.content);
    if (id && *id != expected) {
      moved.push_back(printable(token.content) + " is " + std::to_string(*id) + ", not " + std::to_string(expected));
    }
  }
  if (!moved.empty()) {
    log::warn("[" + where_ + "] added tokens have other ids than in the files, as in transformers: " + join(moved, ", ", 2));
  }
}

void JsonTokenizer::check_around(const std::vector<int32_t>& ids) const {
  for (const int32_t id : ids) {
    if (!text_of(id)) {
      model_error(where_ + ": post_processor",
                  "adds the id " + std::to_string(id) + " to texts, but no token has this id. Likely cause: files of two models mixed.");
    }
  }
}

// Adds the tokens that transformers adds after loading: listed tokens that differ from the file, then those with a role.
void JsonTokenizer::use_settings(const FolderSettings& settings, const ClassTraits& traits) {
  std::map<int64_t, AddedToken> by_id;
  std::vector<AddedToken> listed;
  for (const auto& [id, token] : settings.added) {
    const auto known = added_.id(token.content);
    if (!known || *added_.find(*known) != token) {
      listed.push_back(token);
      listed.back().special = token.special || settings.has_role(token.content);
      by_id[id] = token;
    }
  }
  added_.add(listed, model_->vocabulary(), normalizers_, where_);
  warn_of_other_ids(by_id);
  vocab_size_ = std::max(model_->vocabulary().end(), added_.end());
  add_roles(settings);
  if (traits.renews_special) {
    std::vector<AddedToken> special;
    for (const AddedToken* token : settings.special_tokens()) {
      special.push_back({token->content});
      special.back().special = true;
    }
    added_.add(special, model_->vocabulary(), normalizers_, where_);
  }
  if (traits.around_text) {
    const auto id = [this](const std::string& token) { return id_of(token).value_or(0); };
    post_processors_ = PostProcessors(traits.around_text(id), where_ + ": post_processor");
  }
  bos_ = id_of_role(settings.role("bos_token"), settings.bos_id);
  eos_ = id_of_role(settings.role("eos_token"), settings.eos_id);
  splits_special_ = settings.split_special_tokens;
  cleans_up_ = settings.clean_up_tokenization_spaces && !is_bpe_;
  files_.insert(files_.end(), settings.files.begin(), settings.files.end());
}

// A token with a role that is not an added token becomes a special token, with its id in the vocabulary or with a new id, as in
// transformers. A model only has an embedding for a new id if its vocabulary is padded; only tokens that are used cause a warning.
void JsonTokenizer::add_roles(const FolderSettings& settings) {
  std::vector<AddedToken> missing;
  for (const AddedToken* token : settings.special_tokens()) {
    if (!added_.id(token->content)) {
      missing.push_back(*token);
    }
  }
  added_.add(missing, model_->vocabulary(), normalizers_, where_);
  for (const char* role : {"bos_token", "eos_token"}) {
    const AddedToken* token = settings.role(role);
    const auto id = token != nullptr ? id_of(token->content) : std::nullopt;
    if (id && *id >= vocab_size_) {
      log::warn("[" + where_ + "] the " + role + " " + printable(token->content) + " is not a token of the file: it becomes a new token, " +
                std::to_string(*id) + ", as in transformers. Likely cause: files of two models in one folder.");
    }
  }
}

std::optional<int32_t> JsonTokenizer::id_of_role(const AddedToken* role, std::optional<int32_t> otherwise) const {
  return role != nullptr ? id_of(role->content) : otherwise;
}

// The post-processor defines the tokens around a text. If it adds a single token on a side, that is the BOS or the EOS.
void JsonTokenizer::finish(const FolderSettings& settings) {
  added_.prepare();
  for (auto* side : {&bos_, &eos_}) {
    if (*side && !text_of(**side)) {
      side->reset();  // the id from config.json belongs to another tokenizer
    }
  }
  const auto before = post_processors_.before();
  const auto after = post_processors_.after();
  check_around(before);
  check_around(after);
  if (before.size() > 1 || after.size() > 1) {
    log::warn("[" + where_ + "] the post_processor adds several tokens on one side of a text; only lora-tokenize adds them");
  }
  add_bos_ = before.size() == 1;
  add_eos_ = after.size() == 1;
  bos_ = add_bos_ ? before.front() : bos_;
  eos_ = add_eos_ ? after.front() : eos_;
  warn_of_ends("add_bos_token", settings.add_bos_token, add_bos_);
  warn_of_ends("add_eos_token", settings.add_eos_token, add_eos_);
  named_ = Tokenizer::named_tokens();
  settings.name_tokens(named_);
  class_ = settings.tokenizer_class;
}

// transformers silently ignores these keys of the config if there is a tokenizer.json.
void JsonTokenizer::warn_of_ends(const char* key, std::optional<bool> needed, bool is_so) const {
  if (needed && *needed != is_so) {
    log::warn("[" + where_ + "] " + key + " is " + (*needed ? "true" : "false") + " in tokenizer_config.json and not followed: the " +
              "post_processor decides, as in transformers");
  }
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
  require_valid_text(text);
  std::vector<int32_t> ids;
  for (const AddedTokens::TextPart& part : added_.cut(text, /*normalized=*/false, with_special)) {
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
  const TextPiece whole{normal.text, normal.num_first};
  for (const AddedTokens::TextPart& part : added_.cut(normal.text, /*normalized=*/true, with_special)) {
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
  require_valid_text(text);
  Encoding encoding;
  for (const AddedTokens::TextPart& part : added_.cut(text, /*normalized=*/false, /*with_special=*/!splits_special_)) {
    if (part.id >= 0) {
      encoding.ids.push_back(part.id);
      encoding.spans.push_back({part.begin, part.end});
      continue;
    }
    std::vector<int32_t> ids;
    const std::string_view segment = text.substr(part.begin, part.end - part.begin);
    encode_segment(segment, part.begin == 0, /*with_special=*/!splits_special_, ids);
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
  const std::string decoded = decoders_.decode(std::move(tokens));
  return cleans_up_ ? clean_up_spaces(decoded) : decoded;
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

/// A folder's tokenizer, built by its class. `files`: the files from which `json` was read; messages name the first.
std::unique_ptr<Tokenizer> load_with_settings(Json json, const std::vector<std::filesystem::path>& files, FolderSettings settings) {
  const std::filesystem::path& file = files.front();
  const bool is_json = file.filename() == "tokenizer.json";
  add_file_settings(json, settings, file.string());
  ClassTraits traits = apply_class(json, settings, file.string()).value_or(ClassTraits{});
  fix_mistral_regex(json, settings, file.string());
  if (!is_json && !traits.around_text) {
    traits.around_text = bos_and_eos_around(settings);
  }
  auto tokenizer = std::make_unique<JsonTokenizer>(files, json);
  tokenizer->use_settings(settings, traits);
  tokenizer->finish(settings);
  return tokenizer;
}

}  // namespace

std::unique_ptr<Tokenizer> load_json_tokenizer(const std::filesystem::path& file, bool has_settings) {
  Json json = read_json(file, ErrorKind::kModel, kTokenizerFile);
  if (!json.is_object()) {
    model_error(file.string(), "found " + type_name(json) + ", expected an object with a section \"model\"");
  }
  warn_of_unknown_component_keys(json, file.string());
  if (!has_settings) {
    auto tokenizer = std::make_unique<JsonTokenizer>(std::vector{file}, json);
    tokenizer->finish({});
    return tokenizer;
  }
  return load_with_settings(std::move(json), {file}, read_folder_settings(file.parent_path()));
}

std::unique_ptr<Tokenizer> load_vocabulary_files(const std::filesystem::path& folder) {
  const std::vector<std::filesystem::path> files = find_vocabulary_files(folder);
  FolderSettings settings = read_folder_settings(folder);
  if (settings.tokenizer_class == kPlainClass || foreign_class(settings.tokenizer_class) != ForeignClass::kNone) {
    model_error(files.front().string(), "the vocabulary does not define how texts are split: found the tokenizer_class " +
                                            settings.tokenizer_class + ", expected BertTokenizer, GPT2Tokenizer or another one that " +
                                            "defines it. Save the tokenizer as a tokenizer.json.");
  }
  return load_with_settings(read_vocabulary_files(files), files, std::move(settings));
}

}  // namespace lora::tokenizer
