#include <functional>

#include "tokenizer/json/byte_level.h"
#include "tokenizer/json/component.h"
#include "tokenizer/json/cutting.h"
#include "tokenizer/json/metaspace.h"
#include "tokenizer/json/pre_tokenizer.h"
#include "tokenizer/json/text_pattern.h"
#include "tokenizer/unicode/properties.h"

namespace lora::tokenizer {
namespace {

using Steps = std::vector<std::unique_ptr<PreTokenizer>>;

/// Splits each piece separately.
class EachPiece : public PreTokenizer {
 public:
  void cut(Pieces& pieces, Arena& arena) const final {
    Pieces parts;
    parts.reserve(pieces.size());
    for (const TextPiece& piece : pieces) {
      cut_piece(piece, arena, parts);
    }
    pieces = std::move(parts);
  }

 protected:
  virtual void cut_piece(const TextPiece& piece, Arena& arena, Pieces& parts) const = 0;
};

class RegexSplit : public EachPiece {
 public:
  explicit RegexSplit(TextRegex regex) : regex_(std::move(regex)) {}

 protected:
  void cut_piece(const TextPiece& piece, Arena&, Pieces& parts) const override {
    lora::tokenizer::cut(piece, regex_.find_all(piece.text), CutBehavior::kIsolated, false, parts);
  }

 private:
  TextRegex regex_;
};

class Split : public EachPiece {
 public:
  Split(TextPattern pattern, CutBehavior behavior, bool invert) : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

 protected:
  void cut_piece(const TextPiece& piece, Arena&, Pieces& parts) const override {
    lora::tokenizer::cut(piece, pattern_.find_all(piece.text), behavior_, invert_, parts);
  }

 private:
  TextPattern pattern_;
  CutBehavior behavior_;
  bool invert_;
};

/// Splits at the characters with a property.
class CharacterSplit : public EachPiece {
 public:
  CharacterSplit(bool (*is_match)(char32_t), CutBehavior behavior) : is_match_(is_match), behavior_(behavior) {}

 protected:
  void cut_piece(const TextPiece& piece, Arena&, Pieces& parts) const override {
    lora::tokenizer::cut(piece, matching_characters(piece.text, is_match_), behavior_, false, parts);
  }

 private:
  bool (*is_match_)(char32_t);
  CutBehavior behavior_;
};

/// Splits into runs of \w, and runs of characters that are neither \w nor spaces.
class Whitespace : public EachPiece {
 protected:
  void cut_piece(const TextPiece& piece, Arena&, Pieces& parts) const override {
    enum class Kind { kSpace, kWord, kOther };
    size_t begin = 0;
    Kind run = Kind::kSpace;
    const auto end_run = [&](size_t end) {
      if (run != Kind::kSpace && end > begin) {
        parts.push_back(part_of(piece, begin, end));
      }
      begin = end;
    };
    for (size_t at = 0; at < piece.text.size();) {
      const size_t character = at;
      const char32_t code = next_code_point(piece.text, at);
      const Kind kind = is_word(code) ? Kind::kWord : is_space(code) ? Kind::kSpace : Kind::kOther;
      if (kind != run) {
        end_run(character);
        run = kind;
      }
    }
    end_run(piece.text.size());
  }
};

class MetaspaceSplit : public EachPiece {
 public:
  explicit MetaspaceSplit(Metaspace metaspace) : metaspace_(std::move(metaspace)) {}

 protected:
  void cut_piece(const TextPiece& piece, Arena& arena, Pieces& parts) const override { cut_by_metaspace(metaspace_, piece, arena, parts); }

 private:
  Metaspace metaspace_;
};

/// Adds ByteLevel's space before each piece that does not begin with one.
class PrefixSpace : public EachPiece {
 protected:
  void cut_piece(const TextPiece& piece, Arena& arena, Pieces& parts) const override {
    if (piece.text.starts_with(' ')) {
      parts.push_back(piece);
    } else {
      parts.push_back({arena.keep(" " + std::string(piece.text)), piece.num_first > 0 ? piece.num_first + 1 : 0});
    }
  }
};

class SpellBytes : public EachPiece {
 protected:
  void cut_piece(const TextPiece& piece, Arena& arena, Pieces& parts) const override {
    parts.push_back({arena.keep(spell_bytes(piece.text)), spell_bytes(piece.text.substr(0, piece.num_first)).size()});
  }
};

CutBehavior read_behavior(const JsonReader& reader) {
  const auto behavior = kCutBehaviors.find(reader.string("behavior"));
  if (!behavior) {
    reader.fail("behavior", join(kCutBehaviors.names(), " or "));
  }
  return *behavior;
}

void read_byte_level_steps(const JsonReader& reader, Steps& steps) {
  constexpr std::string_view kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
  if (required_boolean(reader, "add_prefix_space")) {
    steps.push_back(std::make_unique<PrefixSpace>());
  }
  if (reader.boolean("use_regex", true)) {
    steps.push_back(std::make_unique<RegexSplit>(TextRegex(kGpt2, reader.where())));
  }
  steps.push_back(std::make_unique<SpellBytes>());
}

void read_split(const JsonReader& reader, Steps& steps) {
  steps.push_back(std::make_unique<Split>(TextPattern(reader), read_behavior(reader), required_boolean(reader, "invert")));
}

void read_punctuation(const JsonReader& reader, Steps& steps) {
  const CutBehavior behavior = reader.has("behavior") ? read_behavior(reader) : CutBehavior::kIsolated;
  steps.push_back(std::make_unique<CharacterSplit>(is_punctuation, behavior));
}

void read_digits(const JsonReader& reader, Steps& steps) {
  const bool individual = required_boolean(reader, "individual_digits");
  steps.push_back(std::make_unique<CharacterSplit>(is_numeric, individual ? CutBehavior::kIsolated : CutBehavior::kContiguous));
}

void read_whitespace_split(const JsonReader&, Steps& steps) {
  steps.push_back(std::make_unique<CharacterSplit>(is_space, CutBehavior::kRemoved));
}

void read_bert(const JsonReader& reader, Steps& steps) {
  read_whitespace_split(reader, steps);
  steps.push_back(std::make_unique<CharacterSplit>(is_punctuation, CutBehavior::kIsolated));
}

void read_metaspace_split(const JsonReader& reader, Steps& steps) {
  steps.push_back(std::make_unique<MetaspaceSplit>(read_metaspace(reader)));
}

void read_whitespace(const JsonReader&, Steps& steps) {
  steps.push_back(std::make_unique<Whitespace>());
}

struct PreTokenizerKind {
  const char* type;
  void (*read)(const JsonReader& reader, Steps& steps);
};
constexpr PreTokenizerKind kPreTokenizers[] = {
    {"BertPreTokenizer", read_bert},   {"ByteLevel", read_byte_level_steps},
    {"Digits", read_digits},           {"Metaspace", read_metaspace_split},
    {"Punctuation", read_punctuation}, {"Split", read_split},
    {"Whitespace", read_whitespace},   {"WhitespaceSplit", read_whitespace_split},
};

}  // namespace

PreTokenizers::PreTokenizers(const Json& section, const std::string& where) {
  for_each_component(section, "pretokenizers", where, [this](const std::string& type, const JsonReader& reader) {
    find_kind(kPreTokenizers, type, reader.where()).read(reader, steps_);
    ends_in_bytes_ = type == "ByteLevel";
  });
}

void PreTokenizers::cut(Pieces& pieces, Arena& arena) const {
  for (const auto& step : steps_) {
    step->cut(pieces, arena);
  }
}

bool PreTokenizers::leave_bytes() {
  if (ends_in_bytes_) {
    steps_.pop_back();
  }
  return std::exchange(ends_in_bytes_, false);
}

}  // namespace lora::tokenizer
