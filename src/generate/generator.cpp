#include "lora/generate/generator.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/random.h"
#include "lora/generate/logits.h"
#include "lora/nn/kv_cache.h"

namespace lora::generate {

namespace {

/// A prompt and its completion so far.
struct PromptState {
  std::vector<int32_t> seen;   ///< prompt and new tokens
  std::vector<int32_t> fresh;  ///< the tokens that the model has not read yet: of `seen`, and at first an adapter's virtual ones
  Completion completion;
  uint64_t key = 0;              ///< for its random numbers
  std::vector<int32_t> eos_ids;  ///< of this prompt
};

/// What the model reads of a document from its start: an adapter's virtual tokens come first.
std::vector<int32_t> unread(const std::vector<int32_t>& seen, int64_t virtual_tokens) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < virtual_tokens; ++i) {
    ids.push_back(static_cast<int32_t>(nn::virtual_token(i)));
  }
  ids.insert(ids.end(), seen.begin(), seen.end());
  return ids;
}

std::vector<PromptState> documents_of(const std::vector<Prompt>& prompts, uint64_t seed, int64_t virtual_tokens) {
  static constexpr uint64_t kSampling = 0x5a3b;  // distinguishes this use of the seed
  std::vector<PromptState> documents;
  for (const Prompt& prompt : prompts) {
    const uint64_t key = mix64(mix64(seed, kSampling), static_cast<uint64_t>(prompt.index));
    documents.push_back({prompt.ids, unread(prompt.ids, virtual_tokens), {}, key, prompt.eos_ids});
  }
  return documents;
}

std::vector<int64_t> capacities(const std::vector<Prompt>& prompts, int64_t further) {
  std::vector<int64_t> all;
  for (const Prompt& prompt : prompts) {
    all.push_back(static_cast<int64_t>(prompt.ids.size()) + further);
  }
  return all;
}

bool has(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

/// Uniform in [0, 1), a function of (seed, prompt, position).
double draw(const PromptState& document) {
  return CounterRandom(mix64(document.key, document.seen.size())).uniform();
}

class Run {
 public:
  Run(nn::Model& model, const GenerationOptions& options, const std::vector<Prompt>& prompts, const Listener& listener)
      : model_(model),
        options_(options),
        listener_(listener),
        virtual_tokens_(model.body->virtual_tokens()),
        documents_(documents_of(prompts, options.seed, virtual_tokens_)),
        // The model never reads the last new token.
        cache_(capacities(prompts, virtual_tokens_ + options.max_new_tokens - 1), model.body->prefix_length()) {
    for (size_t d = 0; d < prompts.size(); ++d) {
      running_.push_back(d);
    }
  }

  void step() {
    const std::vector<int32_t> chosen = choose(next_logits());
    std::vector<size_t> going_on;
    for (size_t i = 0; i < running_.size(); ++i) {
      if (!take(running_[i], chosen[i])) {
        going_on.push_back(running_[i]);
      }
    }
    running_ = std::move(going_on);
  }

  bool done() const { return running_.empty(); }

 private:
  /// A document whose cached keys are of no use any more is computed again from the start.
  void reread_if_outgrown(PromptState& document, int64_t slot) {
    if (!model_.body->keeps_keys(cache_.length(slot), virtual_tokens_ + static_cast<int64_t>(document.seen.size()))) {
      cache_.forget(slot);
      document.fresh = unread(document.seen, virtual_tokens_);
    }
  }

  /// The logits after the last token of each running document, from a forward pass over its unread tokens.
  at::Tensor next_logits() {
    std::vector<nn::DocumentView> views;
    std::vector<int64_t> last_tokens;
    for (const size_t d : running_) {
      const auto slot = static_cast<int64_t>(d);
      reread_if_outgrown(documents_[d], slot);
      views.push_back({&documents_[d].fresh, nullptr, slot, cache_.length(slot)});
      last_tokens.push_back((last_tokens.empty() ? -1 : last_tokens.back()) + static_cast<int64_t>(documents_[d].fresh.size()));
    }
    const nn::Batch batch = nn::make_token_batch(views).to(model_.device());
    const nn::Pass pass = nn::cached_pass(batch, cache_);
    const at::Tensor rows = at::tensor(last_tokens, at::kLong).to(model_.device());
    const at::Tensor logits_DV = model_.tokens->logits(model_.body->hidden_of(rows, pass), pass).to(at::kFloat);
    if (!at::isfinite(logits_DV.sum()).item<bool>() && !at::isfinite(logits_DV).all().item<bool>()) {
      model_error("generation",
                  "the model's logits are not finite (NaN or infinity). Likely cause: overflow in float16. Use --dtype bfloat16 "
                  "or float32.");
    }
    return logits_DV;
  }

  std::vector<int32_t> choose(const at::Tensor& logits_DV) const {
    std::vector<const std::vector<int32_t>*> seen;
    std::vector<double> draws;
    for (const size_t d : running_) {
      seen.push_back(&documents_[d].seen);
      draws.push_back(draw(documents_[d]));
    }
    const at::Tensor processed_DV = process_logits(logits_DV, seen, options_);
    return options_.greedy() ? choose_greedily(processed_DV) : choose_by_draw(processed_DV, draws);
  }

  /// Appends a token to a document. Returns whether the document is finished.
  bool take(size_t d, int32_t id) {
    PromptState& document = documents_[d];
    document.seen.push_back(id);
    document.fresh = {id};
    Completion& completion = document.completion;
    completion.ids.push_back(id);
    if (has(options_.eos_ids, id) || has(document.eos_ids, id)) {
      completion.reason = FinishReason::kEos;
    } else if (!listener_.on_token(d, id)) {
      completion.reason = FinishReason::kStop;
    } else if (static_cast<int64_t>(completion.ids.size()) < options_.max_new_tokens) {
      return false;
    }
    listener_.on_finish(d, completion);
    return true;
  }

  nn::Model& model_;
  const GenerationOptions& options_;
  const Listener& listener_;
  int64_t virtual_tokens_;  ///< before each document
  std::vector<PromptState> documents_;
  nn::KvCache cache_;
  std::vector<size_t> running_;  ///< indices of unfinished documents, ascending
};

}  // namespace

Generator::Generator(nn::Model& model, GenerationOptions options) : model_(model), options_(std::move(options)) {
  require_valid_options(options_);
}

void Generator::complete(const std::vector<Prompt>& prompts, const Listener& listener) const {
  const at::NoGradGuard no_grad;
  Run run(model_, options_, prompts, listener);
  while (!run.done()) {
    throw_if_interrupted();
    run.step();
  }
}

}  // namespace lora::generate
