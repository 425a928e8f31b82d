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

/// The bytes from `begin` to `end` of a text.
struct TextSpan {
  size_t begin = 0;
  size_t end = 0;
};

/// Ids, and for each the bytes of the text that it represents. Tokens that are parts of one character may share its bytes.
struct Encoding {
  std::vector<int32_t> ids;
  std::vector<TextSpan> spans;
};

/// Ids, and for each the text of a pair that it belongs to: 0 or 1 (token_type_ids).
struct TypedIds {
  std::vector<int32_t> ids;
  std::vector<int32_t> types;
};

/// Converts text to ids and back. Callers add BOS and EOS by the rules below.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Ids of `text` without BOS and EOS; special tokens in the text are encoded as plain text. Throws data Error if `text` is not valid
  /// UTF-8.
  virtual std::vector<int32_t> encode(std::string_view text) const = 0;
  /// Ids of `text` as transformers' `tokenizer(text)` gives them: special tokens in the text become their ids (unless
  /// tokenizer_config.json has split_special_tokens), and `add_special_tokens` adds those that belong around a text. Throws data Error if
  /// `text` is not valid UTF-8. The default implementation is encode() with BOS and EOS, for tokenizers whose special tokens have no names.
  virtual std::vector<int32_t> encode_with_specials(std::string_view text, bool add_special_tokens) const;
  /// The ids of one or two texts from encode(), with the special tokens around and between them that transformers'
  /// `tokenizer(text, text_pair)` adds. `second` may be null. The default implementation adds BOS and EOS to each text.
  virtual TypedIds around(const std::vector<int32_t>& first, const std::vector<int32_t>* second) const;
  /// encode_with_specials(text, false) with the bytes of each token.
  virtual Encoding encode_with_spans(std::string_view text) const = 0;
  /// Whether an id is a special token, which decode() omits.
  virtual bool is_special(int32_t id) const = 0;
  /// The text of `ids`; special tokens (BOS, EOS, …) are omitted unless `show_special`.
  virtual std::string decode(const std::vector<int32_t>& ids, bool show_special = false) const = 0;
  /// The text or name of one id, for messages and previews.
  virtual std::string token(int32_t id) const = 0;

  /// The tokens by role ("bos_token", "eos_token" and others that the files name), for chat templates. By default BOS and EOS.
  virtual std::map<std::string, std::string> named_tokens() const;
  virtual int64_t vocab_size() const = 0;
  virtual std::optional<int32_t> bos_id() const = 0;
  virtual std::optional<int32_t> eos_id() const = 0;
  /// Whether BOS belongs before a text and EOS after it: according to the post_processor of a tokenizer.json, otherwise to the model's
  /// tokenizer_config.json (by default only BOS).
  virtual bool add_bos() const = 0;
  virtual bool add_eos() const = 0;
  /// What determines the ids besides the content of files(): the class in transformers, and BOS and EOS, which config.json may name.
  virtual std::string identity() const;
  /// The files that it was read from: they are hashed, and copied into the folder of a fully fine-tuned model.
  virtual std::vector<std::filesystem::path> files() const = 0;
};

/// Loads the tokenizer at `path`: a folder with a tokenizer.json, otherwise with a tokenizer.model (and tokenizer_config.json), or a
/// .json or .model file. For a folder, the ids equal those of transformers' AutoTokenizer, which follows tokenizer_config.json, the older
/// files next to it, and the rules of the named class. Throws model Error if there is no tokenizer, or it is damaged.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path);

/// Whether a tokenizer file exists, damaged or not.
bool has_tokenizer(const std::filesystem::path& path);

}  // namespace lora::tokenizer
