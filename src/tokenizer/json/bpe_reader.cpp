// The section "model" of type BPE.
#include "lora/base/error.h"
#include "lora/base/text.h"
#include "tokenizer/json/bpe.h"

namespace lora::tokenizer {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;

/// An entry of the list of merges, for messages.
struct MergePlace {
  const std::string& list;
  size_t index;
  std::string text() const { return list + "[" + std::to_string(index) + "]"; }
};

/// "left right" or ["left", "right"].
Pair read_pair(const Json& merge, const MergePlace& place) {
  if (merge.is_string()) {
    const std::string_view text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != std::string_view::npos && text.find(' ', space + 1) == std::string_view::npos) {
      return {text.substr(0, space), text.substr(space + 1)};
    }
  } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()};
  }
  model_error(place.text(), "found " + shown(merge) + ", expected two tokens, as \"left right\" or [\"left\", \"right\"]");
}

int32_t id_of(const TokenTable& vocabulary, std::string_view token, const MergePlace& place) {
  const auto id = vocabulary.id(token);
  if (!id) {
    model_error(place.text(), "the token " + printable(token) + " is not in the vocabulary. Likely cause: a damaged file.");
  }
  return *id;
}

PairTable read_merges(const Json& merges, const TokenTable& vocabulary, const std::string& prefix, const std::string& where) {
  if (!merges.is_array()) {
    model_error(where, "found " + type_name(merges) + ", expected an array of merges");
  }
  PairTable pairs(merges.size());
  uint32_t rank = 0;
  std::string merged;
  for (size_t i = 0; i < merges.size(); ++i) {
    if (merges[i].is_string() && merges[i].get_ref<const std::string&>().starts_with("#version")) {
      continue;  // the first line of a merges.txt
    }
    const MergePlace place{where, i};
    const auto [left, right] = read_pair(merges[i], place);
    if (right.size() < prefix.size()) {
      model_error(place.text(),
                  "the token " + printable(right) + " is shorter than continuing_subword_prefix. Likely cause: a damaged file.");
    }
    merged.assign(left).append(right.substr(prefix.size()));
    const int32_t left_id = id_of(vocabulary, left, place);
    const int32_t right_id = id_of(vocabulary, right, place);
    pairs.set(left_id, right_id, {rank++, id_of(vocabulary, merged, place)});
  }
  return pairs;
}

/// A rate of null or 0: dropping merges at random only serves the training of tokenizers.
void require_no_dropout(const JsonReader& reader) {
  if (reader.number("dropout", 0) != 0) {
    reader.fail("dropout", "null, because encoding is never random");
  }
}

}  // namespace

std::unique_ptr<TokenModel> read_bpe(const Json& model, const std::string& where, bool reads_bytes) {
  const JsonReader reader(model, where, ErrorKind::kModel);
  require_no_dropout(reader);
  BpeOptions options;
  if (reader.has("unk_token")) {
    options.unk_token = reader.string("unk_token");
  }
  options.continuing_subword_prefix = reader.string("continuing_subword_prefix", "");
  options.end_of_word_suffix = reader.string("end_of_word_suffix", "");
  options.fuse_unk = reader.boolean("fuse_unk", false);
  options.byte_fallback = reader.boolean("byte_fallback", false);
  options.ignore_merges = reader.boolean("ignore_merges", false);
  options.reads_bytes = reads_bytes;
  TokenTable vocabulary = read_token_table(reader.at("vocab"), where + ".vocab");
  PairTable pairs = read_merges(reader.at("merges"), vocabulary, options.continuing_subword_prefix, where + ".merges");
  return std::make_unique<Bpe>(std::move(vocabulary), std::move(pairs), std::move(options), where);
}

}  // namespace lora::tokenizer
