#include "app/control_tokens.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <set>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/data/chat.h"
#include "lora/nn/embedding.h"

// Legend: S sampled tokens, D channels.
namespace lora::app {

namespace {

using at::Tensor;

constexpr size_t kLongestMark = 40;
constexpr int64_t kSample = 2000;  // ordinary tokens to compare with
constexpr int64_t kMostUnused = 1000;
constexpr int64_t kNeighbours = 16;
constexpr double kNear = 0.5;    // as a fraction of the distance that 95 % of the ordinary tokens exceed
constexpr double kEqual = 0.01;  // as a fraction of an embedding's norm: closer ones were never trained apart

/// Texts in angle brackets without spaces, which look like control tokens: <|im_start|>, <start_of_turn>.
std::set<std::string> marks_in(const std::string& text) {
  std::set<std::string> marks;
  for (size_t begin = text.find('<'); begin != std::string::npos; begin = text.find('<', begin + 1)) {
    const size_t end = text.find_first_of("<> \n\t", begin + 1);
    if (end != std::string::npos && text[end] == '>' && end > begin + 1 && end - begin < kLongestMark) {
      marks.insert(text.substr(begin, end - begin + 1));
    }
  }
  return marks;
}

/// Whether the name marks a reserved token: <unused0>, [unused0], <|reserved_special_token_0|>, <|extra_0|>.
bool is_unused_name(const std::string& name) {
  const bool is_mark = name.size() > 2 && (name.front() == '<' || name.front() == '[') && (name.back() == '>' || name.back() == ']');
  const auto has = [&name](const char* word) { return name.find(word) != std::string::npos; };
  return is_mark && (has("unused") || has("reserved") || has("extra_") || has("dummy") || has("placeholder"));
}

/// At most `most` of the ids, evenly spaced.
std::vector<int64_t> thinned(const std::vector<int64_t>& ids, int64_t most) {
  std::vector<int64_t> result;
  const auto size = static_cast<int64_t>(ids.size());
  const int64_t count = std::min(size, most);
  for (int64_t i = 0; i < count; ++i) {
    result.push_back(ids[static_cast<size_t>(i * size / count)]);
  }
  return result;
}

/// For each row, the mean distance to its nearest rows of `others_SD`. The `skipped` nearest are left out (1 leaves out the row itself).
Tensor nearness(const Tensor& rows_SD, const Tensor& others_SD, int64_t skipped) {
  const int64_t count = std::min(kNeighbours, others_SD.size(0) - skipped);
  const Tensor distances = at::cdist(rows_SD, others_SD);
  return std::get<0>(distances.topk(count + skipped, 1, /*largest=*/false)).narrow(1, skipped, count).mean(1);
}

class Embeddings {
 public:
  Embeddings(const tokenizer::Tokenizer& tokenizer, const Tensor& weight_VD) : weight_VD_(weight_VD) {
    std::vector<int64_t> ordinary;
    for (int64_t id = 0; id < weight_VD.size(0); ++id) {
      const bool is_known = id < tokenizer.vocab_size();
      const std::string name = is_known ? tokenizer.token(static_cast<int32_t>(id)) : "";
      if (!is_known || is_unused_name(name)) {
        unused_.push_back(id);
      } else if (tokenizer.is_special(static_cast<int32_t>(id))) {
        special_.push_back(id);
      } else {
        ordinary.push_back(id);
      }
    }
    unused_ = thinned(unused_, kMostUnused);
    ordinary_ = thinned(ordinary, kSample);
  }

  /// The tokens among `ids` whose embeddings are close to those of unused tokens, if the unused ones form a cluster of their own.
  std::set<int32_t> like_unused(const std::vector<int32_t>& ids) const {
    if (static_cast<int64_t>(unused_.size()) <= kNeighbours || ordinary_.empty()) {
      return {};
    }
    const Tensor unused_SD = rows(unused_);
    const double far = at::quantile(nearness(rows(ordinary_), unused_SD, 0), 0.05).item<double>();
    if (nearness(unused_SD, unused_SD, 1).median().item<double>() > kNear * far) {
      return {};
    }
    return below(ids, nearness(rows({ids.begin(), ids.end()}), unused_SD, 0), kNear * far);
  }

  /// The tokens among `ids` whose embedding is zero or equals that of another special token.
  std::set<int32_t> like_one_another(const std::vector<int32_t>& ids) const {
    std::set<int32_t> found;
    const double length = ordinary_.empty() ? 0.0 : rows(ordinary_).norm(2, 1).median().item<double>();
    for (const int32_t id : ids) {
      std::vector<int64_t> others{special_};
      others.erase(std::remove(others.begin(), others.end(), id), others.end());
      const Tensor own_D = rows({id});
      const bool is_zero = own_D.norm().item<double>() <= kEqual * length;
      if (is_zero || (!others.empty() && at::cdist(own_D, rows(others)).min().item<double>() <= kEqual * own_D.norm().item<double>())) {
        found.insert(id);
      }
    }
    return found;
  }

 private:
  Tensor rows(const std::vector<int64_t>& ids) const {
    return weight_VD_.index_select(0, at::tensor(ids, at::kLong).to(weight_VD_.device())).to(at::kCPU, at::kFloat);
  }
  static std::set<int32_t> below(const std::vector<int32_t>& ids, const Tensor& values, double limit) {
    std::set<int32_t> found;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (values[static_cast<int64_t>(i)].item<double>() < limit) {
        found.insert(ids[i]);
      }
    }
    return found;
  }

  Tensor weight_VD_;
  std::vector<int64_t> unused_;
  std::vector<int64_t> special_;
  std::vector<int64_t> ordinary_;
};

}  // namespace

ControlTokens control_tokens(const tokenizer::ChatTemplate& chat_template, const tokenizer::Tokenizer& tokenizer) {
  ControlTokens tokens;
  const Json messages{{{"role", "user"}, {"content", "a"}}, {{"role", "assistant"}, {"content", "a"}}};
  std::string text;
  try {
    text = chat_template.render({messages, Json()}, /*add_generation_prompt=*/false, "the chat template's trial conversation").text;
  } catch (const Error&) {  // the template does not accept this conversation
    return tokens;
  }
  std::set<int32_t> ids;
  for (const int32_t id : tokenizer.encode_with_specials(text, /*add_special_tokens=*/false)) {
    if (tokenizer.is_special(id)) {
      ids.insert(id);
    }
  }
  tokens.ids.assign(ids.begin(), ids.end());
  for (const std::string& mark : marks_in(text)) {
    if (tokenizer.encode_with_specials(mark, /*add_special_tokens=*/false).size() > 1) {
      tokens.missing.push_back(mark);
    }
  }
  tokens.ends_turns = data::ChatEncoder(chat_template, tokenizer).turn_end().has_value();
  return tokens;
}

std::vector<int32_t> untrained_tokens(const std::vector<int32_t>& ids, const tokenizer::Tokenizer& tokenizer, nn::Model& model) {
  const nn::Embedding* embedding = nullptr;
  for (const nn::Host* host : model.hosts()) {
    const auto* found = dynamic_cast<const nn::Embedding*>(host);
    embedding = embedding == nullptr ? found : embedding;
  }
  const auto is_known = [&](int32_t id) { return embedding != nullptr && id < embedding->num_tokens(); };
  if (ids.empty() || embedding == nullptr || embedding->is_trained() || !std::all_of(ids.begin(), ids.end(), is_known)) {
    return {};
  }
  const at::NoGradGuard no_grad;
  const Embeddings embeddings(tokenizer, embedding->weight());
  std::set<int32_t> found = embeddings.like_unused(ids);
  found.merge(embeddings.like_one_another(ids));
  return {found.begin(), found.end()};
}

}  // namespace lora::app
