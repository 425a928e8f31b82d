#include "tokenizer/sentencepiece_tokenizer.h"

#include <sentencepiece_processor.h>

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/text.h"
#include "tokenizer/json/trie.h"
#include "tokenizer/model_check.h"
#include "tokenizer/space_symbol.h"
#include "tokenizer/special_tokens.h"
#include "tokenizer/token_alignment.h"
#include "tokenizer/valid_text.h"

namespace lora::tokenizer {
namespace {

class SentencePieceTokenizer : public Tokenizer {
 public:
  explicit SentencePieceTokenizer(const std::filesystem::path& model) : where_(model.string()), files_{model} {
    const std::string bytes = read_file(model, ErrorKind::kModel);
    require_valid_model_proto(bytes, where_);
    load(processor_, bytes);
    // A second normalizer_spec in a serialized model is merged into the first: this one sets add_dummy_prefix to false.
    load(without_prefix_, bytes + std::string("\x1a\x02\x18\x00", 4));
    take_own_tokens();
    name_specials();
  }

  void use_settings(const std::filesystem::path& folder) {
    const FolderSettings settings = read_folder_settings(folder);
    SpecialTokens special = find_special_tokens(settings, vocabulary(), where_);
    bos_ = special.bos;
    eos_ = special.eos;
    add_bos_ = special.add_bos;
    add_eos_ = special.add_eos;
    added_ = std::move(special.added);
    plain_ = std::move(special.plain);
    splits_special_ = settings.split_special_tokens;
    name_own_tokens();
    settings.name_tokens(named_);
    is_llama_ = settings.tokenizer_class == "LlamaTokenizer";
    if (is_llama_) {
      prefix_ = !settings.add_prefix_space.value_or(true) ? Prefix::kNever
                : settings.legacy.value_or(false)         ? Prefix::kAlways
                                                          : Prefix::kFirst;
    }
    files_.insert(files_.end(), settings.files.begin(), settings.files.end());
    name_specials();
  }

  std::vector<int32_t> encode(std::string_view text) const override { return encode(text, /*with_special=*/false); }

  // The names of special tokens become their ids, and each part between them is encoded separately.
  std::vector<int32_t> encode_with_specials(std::string_view text, bool add_special_tokens) const override {
    require_valid_text(text);
    std::vector<int32_t> ids;
    const auto add = [&](std::optional<int32_t> id, bool is_needed) {
      if (add_special_tokens && is_needed && id) {
        ids.push_back(*id);
      }
    };
    add(bos_, add_bos_);
    const std::vector<int32_t> of_text = encode(text, !splits_special_);
    ids.insert(ids.end(), of_text.begin(), of_text.end());
    add(eos_, add_eos_);
    return ids;
  }

  Encoding encode_with_spans(std::string_view text) const override {
    require_valid_text(text);
    Encoding encoding;
    for_each_part(text, !splits_special_, [&](size_t begin, std::string_view part, std::optional<int32_t> special) {
      if (special) {
        encoding.ids.push_back(*special);
        encoding.spans.push_back({begin, begin + part.size()});
        return;
      }
      const std::vector<int32_t> ids = encode_part(begin, part);
      std::vector<std::string> bytes;
      for (const int32_t id : ids) {
        bytes.push_back(token_bytes(processor_.IdToPiece(id), /*byte_level=*/false));
      }
      for (const TextSpan& span : align_tokens(part, bytes)) {
        encoding.spans.push_back({begin + span.begin, begin + span.end});
      }
      encoding.ids.insert(encoding.ids.end(), ids.begin(), ids.end());
    });
    return encoding;
  }

  std::string decode(const std::vector<int32_t>& ids, bool show_special) const override {
    std::string text;
    std::vector<int> run;
    for (const int32_t id : ids) {
      if (id >= 0 && id < processor_.GetPieceSize() && !processor_.IsControl(id)) {
        run.push_back(id);
      } else if (show_special || !is_special(id)) {
        text += decode_run(run) + token(id);
        run.clear();
      }
    }
    return text + decode_run(run);
  }

  std::string token(int32_t id) const override {
    if (id >= 0 && id < processor_.GetPieceSize()) {
      return with_spaces(processor_.IdToPiece(id));
    }
    const auto found = added_.find(id);
    return found != added_.end() ? found->second : "<id " + std::to_string(id) + ">";
  }

  bool is_special(int32_t id) const override {
    return id < 0 || (id >= processor_.GetPieceSize() ? !plain_.contains(id) : processor_.IsControl(id));
  }

  int64_t vocab_size() const override { return added_.empty() ? processor_.GetPieceSize() : int64_t{added_.rbegin()->first} + 1; }
  std::optional<int32_t> bos_id() const override { return bos_; }
  std::optional<int32_t> eos_id() const override { return eos_; }
  std::map<std::string, std::string> named_tokens() const override { return named_; }
  std::string identity() const override { return (is_llama_ ? "LlamaTokenizer " : "") + Tokenizer::identity(); }
  bool add_bos() const override { return add_bos_; }
  bool add_eos() const override { return add_eos_; }
  std::vector<std::filesystem::path> files() const override { return files_; }

 private:
  /// Where the model adds its space before a text.
  enum class Prefix {
    kAlways,  ///< also before text that follows a special token
    kFirst,   ///< only at the start
    kNever,
  };

  std::vector<int32_t> encode(std::string_view text, bool with_special) const {
    require_valid_text(text);
    std::vector<int32_t> ids;
    for_each_part(text, with_special, [&](size_t begin, std::string_view part, std::optional<int32_t> special) {
      const std::vector<int32_t> of_part = special ? std::vector<int32_t>{*special} : encode_part(begin, part);
      ids.insert(ids.end(), of_part.begin(), of_part.end());
    });
    return ids;
  }

  /// Encodes a part without special tokens that begins at the given byte of a text.
  std::vector<int32_t> encode_part(size_t begin, std::string_view part) const {
    const bool is_needed = prefix_ == Prefix::kAlways || (prefix_ == Prefix::kFirst && begin == 0);
    const bool has_prefix = is_needed && !(is_llama_ && (part.starts_with(' ') || part.starts_with(kSpaceSymbol)));
    std::vector<int> ids;
    const auto status = (has_prefix ? processor_ : without_prefix_).Encode(std::string_view(part), &ids);
    if (!status.ok()) {
      data_error("tokenizer", "the text cannot be encoded: " + std::string(status.message()) + ": " + printable(part));
    }
    return {ids.begin(), ids.end()};
  }

  /// Calls take(begin, part, special) for each added token in the text, and for each part between them. Without `with_special`, special
  /// tokens are plain text.
  template <typename Take>
  void for_each_part(std::string_view text, bool with_special, const Take& take) const {
    if (!with_special && plain_.empty()) {
      take(0, text, std::nullopt);
      return;
    }
    size_t done = 0;
    const auto take_text = [&](size_t end) {
      if (end > done) {
        take(done, text.substr(done, end - done), std::nullopt);
      }
    };
    for (size_t at = 0; at < text.size();) {
      const auto special = special_names_->longest(Trie::kRoot, text.substr(at));
      if (special && (with_special || !is_special(special->value))) {
        take_text(at);
        take(at, text.substr(at, special->size), std::optional<int32_t>(special->value));
        done = at += special->size;
      } else {
        ++at;
      }
    }
    take_text(text.size());
  }

  /// Builds the search for control pieces and added tokens.
  void name_specials() {
    std::vector<std::pair<std::string_view, int32_t>> names;
    for (int id = 0; id < processor_.GetPieceSize(); ++id) {
      if (processor_.IsControl(id)) {
        names.emplace_back(processor_.IdToPiece(id), id);
      }
    }
    for (const auto& [id, name] : added_) {
      names.emplace_back(name, id);
    }
    std::erase_if(names, [](const auto& name) { return name.first.empty(); });
    special_names_.emplace(std::move(names));
  }

  void load(sentencepiece::SentencePieceProcessor& processor, const std::string& bytes) const {
    try {
      const auto status = processor.LoadFromSerializedProto(bytes);
      if (!status.ok()) {
        fail(status.message());
      }
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {  // the library's trie builder throws for keys that it cannot store
      fail(error.what());
    }
  }

  void take_own_tokens() {
    const Vocabulary own = vocabulary();
    bos_ = own.bos;
    eos_ = own.eos;
    add_bos_ = bos_.has_value();
    name_own_tokens();
  }

  void name_own_tokens() {
    named_ = Tokenizer::named_tokens();
    if (processor_.unk_id() >= 0) {
      named_["unk_token"] = processor_.IdToPiece(processor_.unk_id());
    }
  }

  [[noreturn]] void fail(const std::string& reason) const {
    model_error(where_, "the SentencePiece model cannot be used: " + printable(reason, 200) +
                            ". Likely cause: an incomplete download. Download the file again.");
  }

  Vocabulary vocabulary() const {
    const auto known = [](int id) { return id >= 0 ? std::optional<int32_t>(id) : std::nullopt; };
    const auto find = [this](const std::string& name) -> std::optional<int32_t> {
      const int id = processor_.PieceToId(name);  // the id of the unknown piece if the name does not exist
      return id >= 0 && id < processor_.GetPieceSize() && processor_.IdToPiece(id) == name ? std::optional<int32_t>(id) : std::nullopt;
    };
    return {processor_.GetPieceSize(), known(processor_.bos_id()), known(processor_.eos_id()), find};
  }

  std::string decode_run(const std::vector<int>& run) const {
    std::string text;
    const auto status = processor_.Decode(run, &text);
    if (!status.ok()) {
      model_error(where_, "ids cannot be decoded: " + std::string(status.message()));
    }
    return text;
  }

  std::string where_;
  std::vector<std::filesystem::path> files_;
  sentencepiece::SentencePieceProcessor processor_;
  sentencepiece::SentencePieceProcessor without_prefix_;
  Prefix prefix_ = Prefix::kAlways;
  bool is_llama_ = false;  ///< of transformers' class, which adds no space before an existing one
  std::map<int32_t, std::string> added_;
  std::set<int32_t> plain_;
  std::map<std::string, std::string> named_;
  bool splits_special_ = false;
  std::optional<Trie> special_names_;
  std::optional<int32_t> bos_;
  std::optional<int32_t> eos_;
  bool add_bos_ = true;
  bool add_eos_ = false;
};

}  // namespace

std::unique_ptr<Tokenizer> load_sentencepiece(const std::filesystem::path& model, const std::optional<std::filesystem::path>& settings) {
  auto tokenizer = std::make_unique<SentencePieceTokenizer>(model);
  if (settings) {
    tokenizer->use_settings(*settings);
  }
  return tokenizer;
}

}  // namespace lora::tokenizer
