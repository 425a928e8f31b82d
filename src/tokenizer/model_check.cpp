#include "tokenizer/model_check.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "tokenizer/wire_reader.h"

namespace lora::tokenizer {
namespace {

// Field numbers of sentencepiece_model.proto.
constexpr uint32_t kPieces = 1;
constexpr uint32_t kNormalizer = 3;
constexpr uint32_t kDenormalizer = 5;
constexpr uint32_t kPieceText = 1;
constexpr uint32_t kPieceScore = 2;
constexpr uint32_t kPieceType = 3;
constexpr uint32_t kCharsmap = 2;
constexpr uint64_t kUserDefined = 4;

// The library collects the user-defined symbols at one position of a text in an array of 64.
constexpr size_t kMaxNestedSymbols = 64;

struct VocabularyPiece {
  std::string_view text;
  float score = 0;
  uint64_t type = 1;
};

VocabularyPiece read_piece(std::string_view bytes, const std::string& where) {
  VocabularyPiece piece;
  WireReader reader(bytes, where);
  while (const auto field = reader.next()) {
    if (field->number == kPieceText && field->wire_type == WireField::kBytes) {
      piece.text = field->bytes;
    } else if (field->number == kPieceScore && field->wire_type == WireField::kFixed32) {
      piece.score = std::bit_cast<float>(static_cast<uint32_t>(field->value));
    } else if (field->number == kPieceType && field->wire_type == WireField::kVarint) {
      piece.type = field->value;
    }
  }
  return piece;
}

void require_valid_piece(const VocabularyPiece& piece, size_t index, const std::string& where) {
  const std::string name = "piece " + std::to_string(index);
  if (piece.text.empty()) {
    model_error(where, name + " is empty. Likely cause: a damaged file.");
  }
  if (piece.text.size() > kMaxPieceBytes) {
    model_error(where, name + " is too long: found " + std::to_string(piece.text.size()) + " bytes, expected at most " +
                           std::to_string(kMaxPieceBytes) + ". Likely cause: a damaged or hostile file.");
  }
  if (!std::isfinite(piece.score)) {
    model_error(where, name + " (" + printable(piece.text) + ") has a score that is not a finite number. Likely cause: a damaged file.");
  }
}

// A symbol's prefixes precede it in the sorted list, so a stack of open prefixes finds the deepest nesting.
void require_shallow_nesting(std::vector<std::string_view> symbols, const std::string& where) {
  std::sort(symbols.begin(), symbols.end());
  std::vector<std::string_view> open;
  for (const std::string_view symbol : symbols) {
    while (!open.empty() && !symbol.starts_with(open.back())) {
      open.pop_back();
    }
    open.push_back(symbol);
    if (open.size() > kMaxNestedSymbols) {
      model_error(where, "more than " + std::to_string(kMaxNestedSymbols) + " user-defined symbols are prefixes of each other, the " +
                             "longest being " + printable(symbol) + ". Likely cause: a damaged or hostile file.");
    }
  }
}

void require_valid_normalizer(std::string_view bytes, const std::string& where) {
  WireReader reader(bytes, where);
  while (const auto field = reader.next()) {
    if (field->number == kCharsmap && field->wire_type == WireField::kBytes && !field->bytes.empty()) {
      require_valid_charsmap(field->bytes, where);
    }
  }
}

}  // namespace

void require_valid_model_proto(std::string_view bytes, const std::string& where) {
  if (bytes.empty()) {
    model_error(where, "the file is empty: found 0 bytes, expected a SentencePiece model. Likely cause: an incomplete download.");
  }
  if (bytes.starts_with("version https://git-lfs")) {
    model_error(where, "found a Git LFS pointer, expected a SentencePiece model. Run `git lfs pull` in the model's folder.");
  }
  if (bytes.size() > kMaxModelBytes) {
    model_error(where, "the file is too large for a tokenizer: found " + human_bytes(static_cast<int64_t>(bytes.size())) +
                           ", expected at most " + human_bytes(kMaxModelBytes));
  }
  size_t num_pieces = 0;
  std::vector<std::string_view> symbols;
  WireReader reader(bytes, where);
  while (const auto field = reader.next()) {
    if (field->wire_type != WireField::kBytes) {
      continue;
    }
    if (field->number == kPieces) {
      const VocabularyPiece piece = read_piece(field->bytes, where);
      require_valid_piece(piece, num_pieces++, where);
      if (piece.type == kUserDefined) {
        symbols.push_back(piece.text);
      }
    } else if (field->number == kNormalizer || field->number == kDenormalizer) {
      require_valid_normalizer(field->bytes, where);
    }
  }
  if (num_pieces == 0) {
    model_error(where, "this SentencePiece model has no pieces. Likely cause: a damaged file, or a file of another kind.");
  }
  require_shallow_nesting(std::move(symbols), where);
}

}  // namespace lora::tokenizer
