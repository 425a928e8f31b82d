#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lora::tokenizer {

/// Bytes from `begin` to `end` of a text.
struct TextSpan {
  size_t begin = 0;
  size_t end = 0;
};

/// Ids, and of each which bytes of the text it stands for. Tokens that are parts of one character may share it.
struct Encoding {
  std::vector<int32_t> ids;
  std::vector<TextSpan> spans;
};

/// Ids, and of each which of two texts it belongs to: 0 or 1 (token_type_ids).
struct TypedIds {
  std::vector<int32_t> ids;
  std::vector<int32_t> types;
};

/// Text to ids and back. Callers place BOS and EOS by the rules below.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Ids of `text` without BOS and EOS, where the text of a special token is text like any other. Throws data Error if `text` is not valid
  /// UTF-8.
  virtual std::vector<int32_t> encode(std::string_view text) const = 0;
  /// Ids of `text` as transformers' `tokenizer(text)` gives them: special tokens named in the text become their ids (unless
  /// tokenizer_config.json has split_special_tokens), and with
  /// `add_special_tokens` those that belong around a text stand there. Throws data Error if `text` is not valid UTF-8. By default
  /// encode() with BOS and EOS, for tokenizers whose special tokens have no names.
  virtual std::vector<int32_t> encode_with_specials(std::string_view text, bool add_special_tokens) const;
  /// What encode() gave of a text, or of two, with what belongs around and between them: as transformers' `tokenizer(text, text_pair)`
  /// places it. `second` may be null. By default each text has BOS and EOS of its own.
  virtual TypedIds around(const std::vector<int32_t>& first, const std::vector<int32_t>* second) const;
  /// encode_with_specials(text, false), with the bytes of each token.
  virtual Encoding encode_with_spans(std::string_view text) const = 0;
  /// Whether an id is a control token, which decode() leaves out.
  virtual bool is_special(int32_t id) const = 0;
  /// Text of `ids`; control tokens (BOS, EOS, …) are left out unless `show_special`.
  virtual std::string decode(const std::vector<int32_t>& ids, bool show_special = false) const = 0;
  /// Text or name of one id, for messages and previews.
  virtual std::string token(int32_t id) const = 0;

  /// The tokens with a role, "bos_token", "eos_token" and what else the files name, as chat templates see them. By default BOS and EOS.
  virtual std::map<std::string, std::string> named_tokens() const;
  virtual int64_t vocab_size() const = 0;
  virtual std::optional<int32_t> bos_id() const = 0;
  virtual std::optional<int32_t> eos_id() const = 0;
  /// Whether BOS belongs before a text and EOS behind it: by the post_processor of a tokenizer.json, else by the model's
  /// tokenizer_config.json (by default BOS alone).
  virtual bool add_bos() const = 0;
  virtual bool add_eos() const = 0;
  /// What decides its ids besides the content of its files: its class in transformers, BOS and EOS, which config.json may name.
  virtual std::string identity() const;
  /// The files it was read from (hashes; copied beside a fully fine-tuned model).
  virtual std::vector<std::filesystem::path> files() const = 0;
};

/// Loads the tokenizer at `path`: a folder with a tokenizer.json or else a tokenizer.model (and tokenizer_config.json), or a
/// .json or .model file. In a folder the ids are those of transformers' AutoTokenizer: by tokenizer_config.json, the older files beside
/// it, and what the named class makes of tokenizer.json. Throws model Error if there is none, or it is damaged.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path);

/// Whether there is a tokenizer's file, damaged or not.
bool has_tokenizer(const std::filesystem::path& path);

}  // namespace lora::tokenizer
