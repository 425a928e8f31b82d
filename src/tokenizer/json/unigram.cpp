#include "tokenizer/json/unigram.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "tokenizer/json/trie.h"
#include "tokenizer/json/word_cache.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {
namespace {

constexpr double kUnknownPenalty = 10.0;  // below the lowest score of the vocabulary, as in SentencePiece
constexpr size_t kMaxTokenBytes = 10'000;

class Unigram : public TokenModel {
 public:
  Unigram(TokenTable vocabulary, std::vector<double> scores, std::optional<int32_t> unk_id, bool byte_fallback, std::string where)
      : vocabulary_(std::move(vocabulary)),
        scores_(std::move(scores)),
        trie_({vocabulary_.ids().begin(), vocabulary_.ids().end()}),
        unk_id_(unk_id),
        where_(std::move(where)) {
    double least = std::numeric_limits<double>::infinity();
    for (const double score : scores_) {
      least = std::min(least, score);
    }
    unk_score_ = least - kUnknownPenalty;
    for (unsigned byte = 0; byte_fallback && byte < 256; ++byte) {
      char name[8];
      std::snprintf(name, sizeof(name), "<0x%02X>", byte);
      byte_ids_[byte] = vocabulary_.id(name);
    }
  }

  const TokenTable& vocabulary() const override { return vocabulary_; }

  void encode(const Pieces& pieces, std::vector<int32_t>& ids) const override {
    std::vector<Step> steps;
    std::vector<int32_t> word;
    cache_.encode_each(pieces, ids, [&](std::string_view text) -> const std::vector<int32_t>& {
      word.clear();
      find_path(text, steps);
      add_path(text, steps, word);
      return word;
    });
  }

 private:
  /// The best segmentation up to a position in the text, by the token that ends there.
  struct Step {
    double score = 0;
    size_t begin = kUnreached;
    int32_t id = 0;
  };
  static constexpr size_t kUnreached = static_cast<size_t>(-1);

  static void offer(Step& step, double score, size_t begin, int32_t id) {
    if (step.begin == kUnreached || score > step.score) {
      step = {score, begin, id};
    }
  }

  void find_path(std::string_view text, std::vector<Step>& steps) const {
    steps.assign(text.size() + 1, {});
    for (size_t begin = 0; begin < text.size();) {
      const double score = steps[begin].score;
      const size_t next = begin + utf8_length(static_cast<unsigned char>(text[begin]));
      bool has_single = false;
      Trie::Node node = Trie::kRoot;
      for (size_t end = begin; end < text.size();) {
        node = trie_.step(node, static_cast<unsigned char>(text[end++]));
        if (node == Trie::kNone) {
          break;
        }
        if (const int32_t id = trie_.value(node); id >= 0) {
          offer(steps[end], scores_[static_cast<size_t>(id)] + score, begin, id);
          has_single = has_single || end == next;
        }
      }
      if (!has_single) {
        offer(steps[next], unk_score_ + score, begin, unknown_id());
      }
      begin = next;
    }
  }

  // Adjacent unknown characters become one token, or the tokens of their bytes.
  void add_path(std::string_view text, const std::vector<Step>& steps, std::vector<int32_t>& ids) const {
    std::vector<std::pair<size_t, int32_t>> path;  // from the end
    for (size_t end = text.size(); end > 0; end = steps[end].begin) {
      path.emplace_back(end, steps[end].id);
    }
    size_t begin = 0;
    for (size_t i = path.size(); i-- > 0;) {
      const auto [end, id] = path[i];
      if (id != unk_id_) {
        ids.push_back(id);
      } else if (i == 0 || path[i - 1].second != unk_id_) {
        add_unknown(text.substr(begin, end - begin), ids);
      } else {
        continue;
      }
      begin = end;
    }
  }

  void add_unknown(std::string_view text, std::vector<int32_t>& ids) const {
    if (const auto id = vocabulary_.id(text)) {
      ids.push_back(*id);
    } else if (std::all_of(text.begin(), text.end(), [this](char c) { return byte_ids_[static_cast<unsigned char>(c)].has_value(); })) {
      for (const char byte : text) {
        ids.push_back(*byte_ids_[static_cast<unsigned char>(byte)]);
      }
    } else {
      ids.push_back(unknown_id());
    }
  }

  int32_t unknown_id() const {
    if (!unk_id_) {
      model_error(where_ + ".unk_id", "a text needs an unknown token: found null, expected its id. Likely cause: a damaged file.");
    }
    return *unk_id_;
  }

  TokenTable vocabulary_;
  std::vector<double> scores_;
  Trie trie_;
  std::optional<int32_t> unk_id_;
  std::string where_;
  double unk_score_ = 0;
  std::array<std::optional<int32_t>, 256> byte_ids_;
  mutable WordCache cache_;
};

/// One [token, score] of the list.
std::pair<std::string, double> read_entry(const Json& entry, const std::string& where, size_t index) {
  const auto place = [&] { return where + "[" + std::to_string(index) + "]"; };
  if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
    model_error(place(), "found " + shown(entry) + ", expected [token, score]");
  }
  std::pair<std::string, double> result{entry[0].get<std::string>(), entry[1].get<double>()};
  if (!std::isfinite(result.second)) {
    model_error(place(), "the score is not a finite number. Likely cause: a damaged file.");
  }
  if (result.first.size() > kMaxTokenBytes) {
    model_error(place(), "the token is too long: found " + std::to_string(result.first.size()) + " bytes, expected at most " +
                             std::to_string(kMaxTokenBytes) + ". Likely cause: a damaged file.");
  }
  return result;
}

}  // namespace

std::unique_ptr<TokenModel> read_unigram(const Json& model, const std::string& where) {
  const JsonReader reader(model, where, ErrorKind::kModel);
  const Json& entries = reader.at("vocab");
  if (!entries.is_array()) {
    reader.fail("vocab", "an array of [token, score]");
  }
  TokenTable vocabulary;
  vocabulary.reserve(entries.size());
  std::vector<double> scores;
  for (size_t i = 0; i < entries.size(); ++i) {
    auto [token, score] = read_entry(entries[i], where + ".vocab", i);
    vocabulary.add_or_replace(std::move(token), static_cast<int64_t>(i), where + ".vocab");
    scores.push_back(score);
  }
  std::optional<int32_t> unk_id;
  if (reader.has("unk_id")) {
    const int64_t id = reader.integer("unk_id");
    if (id < 0 || id >= vocabulary.end()) {
      reader.fail("unk_id", "an id of the vocabulary, 0 to " + std::to_string(vocabulary.end() - 1));
    }
    unk_id = static_cast<int32_t>(id);
  }
  return std::make_unique<Unigram>(std::move(vocabulary), std::move(scores), unk_id, reader.boolean("byte_fallback", false), where);
}

}  // namespace lora::tokenizer
