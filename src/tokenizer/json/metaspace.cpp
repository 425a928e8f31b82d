#include "tokenizer/json/metaspace.h"

#include "tokenizer/json/cutting.h"
#include "tokenizer/unicode/aligned_text.h"

namespace lora::tokenizer {

Metaspace read_metaspace(const JsonReader& reader) {
  Metaspace result;
  result.replacement = reader.string("replacement");
  if (result.replacement.empty() || utf8_length(static_cast<unsigned char>(result.replacement.front())) != result.replacement.size()) {
    reader.fail("replacement", "one character");
  }
  const auto scheme = kPrependSchemes.find(reader.string("prepend_scheme", "always"));
  if (!scheme) {
    reader.fail("prepend_scheme", "always, first or never");
  }
  result.prepend_scheme = *scheme;
  if (!reader.boolean("add_prefix_space", true) && *scheme != PrependScheme::kNever) {
    reader.fail("add_prefix_space", "true, or the prepend_scheme never");
  }
  result.split = reader.boolean("split", true);
  return result;
}

namespace {

/// The piece with its spaces replaced.
AlignedText replaced(const TextPiece& piece, const std::string& replacement) {
  AlignedWriter writer({std::string(), piece.num_first});
  size_t done = 0;
  for (size_t at = piece.text.find(' '); at != std::string_view::npos; at = piece.text.find(' ', done)) {
    writer.copy(piece.text, done, at - done);
    writer.put(replacement, at);
    done = at + 1;
  }
  writer.copy(piece.text, done, piece.text.size() - done);
  return writer.take();
}

}  // namespace

void cut_by_metaspace(const Metaspace& metaspace, const TextPiece& piece, Arena& arena, Pieces& parts) {
  AlignedText text = replaced(piece, metaspace.replacement);
  const bool wants_space =
      metaspace.prepend_scheme == PrependScheme::kAlways || (metaspace.prepend_scheme == PrependScheme::kFirst && text.num_first > 0);
  if (wants_space && !text.text.starts_with(metaspace.replacement)) {
    text.text.insert(0, metaspace.replacement);
    text.num_first += text.num_first > 0 ? metaspace.replacement.size() : 0;
  }
  const TextPiece whole{arena.keep(std::move(text.text)), text.num_first};
  if (!metaspace.split) {
    parts.push_back(whole);
    return;
  }
  size_t begin = 0;
  while (begin < whole.text.size()) {
    const size_t next = std::min(whole.text.find(metaspace.replacement, begin + 1), whole.text.size());
    parts.push_back(part_of(whole, begin, next));
    begin = next;
  }
}

}  // namespace lora::tokenizer
