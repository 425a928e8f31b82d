// The checks of a network that returns logits of tokens.
#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/random.h"
#include "torchscript/checks.h"

namespace lora::torchscript {

namespace {

using at::Tensor;

constexpr uint64_t kTokenCheckSeed = 0x10adc4ec;

/// Documents of at most these lengths, with ids and positions within the model's tables.
std::vector<std::vector<int32_t>> documents_of(const ScriptModel& model, const std::vector<int64_t>& lengths) {
  const auto ids = static_cast<uint64_t>(model.vocab_size());
  const int64_t positions = model.safe_length();
  CounterRandom random(kTokenCheckSeed);
  std::vector<std::vector<int32_t>> documents;
  for (const int64_t length : lengths) {
    std::vector<int32_t>& document = documents.emplace_back();
    for (int64_t t = 0; t < std::min(length, positions); ++t) {
      document.push_back(static_cast<int32_t>(random.below(ids)));
    }
  }
  return documents;
}

nn::Batch batch_of(const std::vector<std::vector<int32_t>>& documents) {
  std::vector<nn::DocumentView> views;
  for (const std::vector<int32_t>& ids : documents) {
    views.push_back({&ids, &ids, static_cast<int64_t>(views.size())});
  }
  return nn::make_token_batch(views);
}

/// A model whose results are the logits of the tokens.
class LearntTokens : public Subject {
 public:
  explicit LearntTokens(ScriptModel& model) : model_(model) {
    samples_.emplace_back(model, batch_of(documents_of(model, {8, 6})));
    samples_.emplace_back(model, batch_of(documents_of(model, {5, 3, 4})));
  }

  NetworkModel& model() override { return model_; }
  const std::vector<Sample>& samples() const override { return samples_; }
  Tensor outputs(const nn::Pass& pass) const override { return model_.hidden(pass); }
  Tensor outputs_of(const c10::IValue& result, const Sample& sample) const override {
    return model_.logits_of(result, sample.rectangle).flatten(0, 1).index_select(0, sample.rectangle.places_T);
  }

 private:
  ScriptModel& model_;
  std::vector<Sample> samples_;
};

/// Finds out whether padding after a document changes its logits.
class Padding {
 public:
  explicit Padding(ScriptModel& model) : model_(model), documents_(documents_of(model, {8, 6})) {}

  /// Compares a document batched with a longer one and with one of its own length, and both with other ids as padding.
  bool counts() const {
    const at::NoGradGuard no_grad;
    const auto length = static_cast<int64_t>(documents_[1].size());
    std::vector<std::vector<int32_t>> equal = documents_;
    equal[0].resize(equal[1].size());
    const Sample sample(model_, batch_of(documents_)), bare_sample(model_, batch_of(equal));
    const Tensor padded = model_.hidden(nn::evaluation_pass(sample.batch)).slice(0, -length);
    const Tensor bare = model_.hidden(nn::evaluation_pass(bare_sample.batch)).slice(0, -length);
    return (padded - bare).abs().max().item<double>() > model_.rounding() * bare.abs().max().item<double>() ||
           !same_bits(with_padding(sample, 0), with_padding(sample, model_.vocab_size() - 1));
  }

 private:
  /// The tokens' logits with this id at the padding positions of the rectangle.
  Tensor with_padding(const Sample& sample, int64_t id) const {
    const nn::Pass pass = nn::evaluation_pass(sample.batch);
    const PassRows rows{Tensor(), sample.rectangle.num_documents, Tensor(), sample.rectangle.length};
    const Tensor logits_DLV = model_.logits_of(model_.network().run(padded_arguments(model_, sample, id), pass, rows), sample.rectangle);
    return logits_DLV.flatten(0, 1).index_select(0, sample.rectangle.places_T);
  }

  ScriptModel& model_;
  std::vector<std::vector<int32_t>> documents_;
};

}  // namespace

void require_sound_network(ScriptModel& model) {
  LearntTokens documents(model);
  require_working_adapters(documents);
  if (Padding(model).counts()) {
    model.keep_lengths_apart();  // last, because it changes later passes
  }
}

}  // namespace lora::torchscript
