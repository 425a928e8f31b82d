#include <charconv>

#include "tokenizer/json/byte_level.h"
#include "tokenizer/json/component.h"
#include "tokenizer/json/decoder.h"
#include "tokenizer/json/metaspace.h"
#include "tokenizer/json/text_pattern.h"
#include "tokenizer/unicode/lossy_utf8.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {
namespace {

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  size_t at = text.find(what);
  if (what.empty() || at == std::string::npos) {
    return;
  }
  std::string result;
  size_t done = 0;
  for (; at != std::string::npos; at = text.find(what, done)) {
    result.append(text, done, at - done).append(by);
    done = at + what.size();
  }
  text = result.append(text, done);
}

std::string joined_tokens(const std::vector<std::string>& tokens) {
  return join(tokens, "");
}

class ByteLevel : public Decoder {
 public:
  void decode(std::vector<std::string>& tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens) {
      const size_t before = bytes.size();
      if (!add_bytes(token, bytes)) {
        bytes.resize(before);
        bytes += token;
      }
    }
    tokens = {lossy_utf8(bytes)};
  }

 private:
  /// False if a character represents no byte: then the token is plain text.
  static bool add_bytes(std::string_view token, std::string& bytes) {
    for (size_t at = 0; at < token.size();) {
      const auto byte = character_byte(next_code_point(token, at));
      if (!byte) {
        return false;
      }
      bytes += static_cast<char>(*byte);
    }
    return true;
  }
};

/// Adjacent tokens <0x00> to <0xFF> become the text of their bytes, or one U+FFFD each if the bytes are not valid UTF-8.
class ByteFallback : public Decoder {
 public:
  void decode(std::vector<std::string>& tokens) const override {
    std::vector<std::string> result;
    std::string bytes;
    const auto end_bytes = [&] {
      if (invalid_utf8_at(bytes) != std::string_view::npos) {
        result.insert(result.end(), bytes.size(), std::string(kReplacementCharacter));
      } else if (!bytes.empty()) {
        result.push_back(bytes);
      }
      bytes.clear();
    };
    for (std::string& token : tokens) {
      if (const auto byte = byte_of(token)) {
        bytes += *byte;
      } else {
        end_bytes();
        result.push_back(std::move(token));
      }
    }
    end_bytes();
    tokens = std::move(result);
  }

 private:
  static std::optional<char> byte_of(std::string_view token) {
    if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>')) {
      return std::nullopt;
    }
    unsigned value = 0;
    const char* digits = token.data() + (token[3] == '+' ? 4 : 3);  // Rust also accepts a sign
    const auto [end, error] = std::from_chars(digits, token.data() + 5, value, 16);
    return error == std::errc() && end == token.data() + 5 ? std::optional(static_cast<char>(value)) : std::nullopt;
  }
};

class MetaspaceDecoder : public Decoder {
 public:
  explicit MetaspaceDecoder(Metaspace metaspace) : metaspace_(std::move(metaspace)) {}

  void decode(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      const bool is_dropped = i == 0 && metaspace_.prepend_scheme != PrependScheme::kNever;
      replace_all(tokens[i], metaspace_.replacement, is_dropped ? "" : " ");
    }
  }

 private:
  Metaspace metaspace_;
};

class WordPieceDecoder : public Decoder {
 public:
  WordPieceDecoder(std::string prefix, bool cleanup) : prefix_(std::move(prefix)), cleanup_(cleanup) {}

  void decode(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0) {
        tokens[i] = tokens[i].starts_with(prefix_) ? tokens[i].substr(prefix_.size()) : " " + tokens[i];
      }
      if (cleanup_) {
        clean_up(tokens[i]);
      }
    }
  }

 private:
  static void clean_up(std::string& token) {
    constexpr std::pair<const char*, const char*> kRules[] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
                                                              {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                                                              {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (const auto& [what, by] : kRules) {
      replace_all(token, what, by);
    }
  }

  std::string prefix_;
  bool cleanup_;
};

class BpeDecoder : public Decoder {
 public:
  explicit BpeDecoder(std::string suffix) : suffix_(std::move(suffix)) {}

  void decode(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      replace_all(tokens[i], suffix_, i + 1 < tokens.size() ? " " : "");
    }
  }

 private:
  std::string suffix_;
};

class Fuse : public Decoder {
 public:
  void decode(std::vector<std::string>& tokens) const override { tokens = {joined_tokens(tokens)}; }
};

/// Removes a character from the beginning and the end of each token, at most `start` and `stop` times.
class StripDecoder : public Decoder {
 public:
  StripDecoder(std::string content, int64_t start, int64_t stop) : content_(std::move(content)), start_(start), stop_(stop) {}

  void decode(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      std::string_view rest = token;
      for (int64_t i = 0; i < start_ && rest.starts_with(content_); ++i) {
        rest.remove_prefix(content_.size());
      }
      for (int64_t i = 0; i < stop_ && rest.ends_with(content_); ++i) {
        rest.remove_suffix(content_.size());
      }
      token = std::string(rest);
    }
  }

 private:
  std::string content_;
  int64_t start_;
  int64_t stop_;
};

class ReplaceDecoder : public Decoder {
 public:
  ReplaceDecoder(TextPattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}

  void decode(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      std::string result;
      size_t done = 0;
      for (const Span& match : pattern_.find_all(token)) {
        result.append(token, done, match.begin - done).append(content_);
        done = match.end;
      }
      token = result.append(token, done);
    }
  }

 private:
  TextPattern pattern_;
  std::string content_;
};

std::unique_ptr<Decoder> read_wordpiece_decoder(const JsonReader& reader) {
  return std::make_unique<WordPieceDecoder>(reader.string("prefix"), required_boolean(reader, "cleanup"));
}
std::unique_ptr<Decoder> read_strip_decoder(const JsonReader& reader) {
  const std::string content = reader.string("content");
  if (content.empty() || utf8_length(static_cast<unsigned char>(content.front())) != content.size()) {
    reader.fail("content", "one character");
  }
  return std::make_unique<StripDecoder>(content, reader.integer("start"), reader.integer("stop"));
}
std::unique_ptr<Decoder> read_replace_decoder(const JsonReader& reader) {
  return std::make_unique<ReplaceDecoder>(TextPattern(reader), reader.string("content"));
}
std::unique_ptr<Decoder> read_bpe_decoder(const JsonReader& reader) {
  return std::make_unique<BpeDecoder>(reader.string("suffix"));
}
std::unique_ptr<Decoder> read_metaspace_decoder(const JsonReader& reader) {
  return std::make_unique<MetaspaceDecoder>(read_metaspace(reader));
}
template <typename Kind>
std::unique_ptr<Decoder> read_plain(const JsonReader&) {
  return std::make_unique<Kind>();
}

constexpr ComponentKind<std::unique_ptr<Decoder>> kDecoders[] = {
    {"BPEDecoder", read_bpe_decoder}, {"ByteFallback", read_plain<ByteFallback>}, {"ByteLevel", read_plain<ByteLevel>},
    {"Fuse", read_plain<Fuse>},       {"Metaspace", read_metaspace_decoder},      {"Replace", read_replace_decoder},
    {"Strip", read_strip_decoder},    {"WordPiece", read_wordpiece_decoder},
};

}  // namespace

Decoders::Decoders(const Json& section, const std::string& where) : is_null_(section.is_null()) {
  for_each_component(section, "decoders", where, [this](const std::string& type, const JsonReader& reader) {
    steps_.push_back(find_kind(kDecoders, type, reader.where()).read(reader));
  });
}

std::string Decoders::decode(std::vector<std::string> tokens) const {
  if (is_null_) {
    return join(tokens, " ");
  }
  for (const auto& step : steps_) {
    step->decode(tokens);
  }
  return joined_tokens(tokens);
}

std::string clean_up_spaces(std::string text) {
  constexpr std::pair<const char*, const char*> kRules[] = {{" .", "."},     {" ?", "?"},     {" !", "!"},   {" ,", ","},
                                                            {" ' ", "'"},    {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"},
                                                            {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kRules) {
    replace_all(text, from, to);
  }
  return text;
}

}  // namespace lora::tokenizer
