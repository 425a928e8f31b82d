// A SentencePiece model (sentencepiece_model.proto) from the vocabulary of a GGUF file.
#include <bit>
#include <string>

#include "lora/base/text.h"
#include "models/gguf_tokenizer.h"

namespace lora::models {

namespace {

constexpr int64_t kNumBytes = 256;

/// Builds one message of the protocol-buffers format.
class WireWriter {
 public:
  void number(uint32_t field, int64_t value) {
    varint(uint64_t{field} << 3);
    varint(static_cast<uint64_t>(value));
  }
  void bytes(uint32_t field, std::string_view value) {
    varint(uint64_t{field} << 3 | 2);
    varint(value.size());
    text_ += value;
  }
  void real(uint32_t field, float value) {
    varint(uint64_t{field} << 3 | 5);
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) {
      text_ += static_cast<char>(bits >> shift & 0xff);
    }
  }
  const std::string& text() const { return text_; }

 private:
  void varint(uint64_t value) {
    for (; value > 127; value >>= 7) {
      text_ += static_cast<char>((value & 127) | 128);
    }
    text_ += static_cast<char>(value);
  }

  std::string text_;
};

/// User-defined tokens are written with plain spaces.
std::string with_space_symbols(std::string_view text) {
  std::string result;
  for (const char c : text) {
    result += c == ' ' ? std::string("\xe2\x96\x81") : std::string(1, c);
  }
  return result;
}

struct Role {
  const char* name;
  uint32_t id_field;
  uint32_t piece_field;
};
constexpr Role kRoles[] = {{"unknown", 40, 45}, {"bos", 41, 46}, {"eos", 42, 47}, {"padding", 43, 48}};

/// BPE; byte fallback if there are all of its pieces.
std::string trainer_spec(const io::GgufFile& file, const GgufTokens& tokens) {
  int64_t num_bytes = 0;
  for (const int64_t type : tokens.types) {
    num_bytes += type == gguf_token::kByte ? 1 : 0;
  }
  WireWriter spec;
  spec.number(3, 2);
  spec.number(4, static_cast<int64_t>(tokens.texts.size()));
  spec.number(35, num_bytes == kNumBytes ? 1 : 0);
  for (const Role& role : kRoles) {
    const int64_t id = gguf_token_id(file, role.name);
    spec.number(role.id_field, id);
    if (id >= 0) {
      spec.bytes(role.piece_field, tokens.texts[static_cast<size_t>(id)]);
    }
  }
  return spec.text();
}

/// Texts are taken as they are.
std::string normalizer_spec(const io::GgufFile& file) {
  WireWriter spec;
  spec.bytes(1, "identity");
  spec.number(3, file.boolean("tokenizer.ggml.add_space_prefix", true) ? 1 : 0);
  spec.number(4, 0);
  spec.number(5, 1);
  return spec.text();
}

}  // namespace

std::string gguf_tokenizer_model(const io::GgufFile& file) {
  const GgufTokens tokens = gguf_tokens(file);
  const std::vector<float> scores = file.floats("tokenizer.ggml.scores");
  if (scores.size() != tokens.texts.size()) {
    file.fail("tokenizer.ggml.scores", "one score for each of " + std::to_string(tokens.texts.size()) + " tokens");
  }
  const int64_t unknown = gguf_token_id(file, "unknown");
  WireWriter model;
  for (size_t id = 0; id < tokens.texts.size(); ++id) {
    const bool is_unknown = static_cast<int64_t>(id) == unknown;
    WireWriter piece;
    piece.bytes(1, tokens.types[id] == gguf_token::kUserDefined ? with_space_symbols(tokens.texts[id]) : std::string(tokens.texts[id]));
    piece.real(2, scores[id]);
    piece.number(3, is_unknown ? gguf_token::kUnknown : tokens.types[id]);
    model.bytes(1, piece.text());
  }
  model.bytes(2, trainer_spec(file, tokens));
  model.bytes(3, normalizer_spec(file));
  return model.text();
}

}  // namespace lora::models
