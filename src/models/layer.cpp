// T tokens, S needed tokens, D hidden size.
#include "models/layer.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lora::models {

namespace {

Tensor normed(const Tensor& x_TD, const nn::Norm* norm) {
  return norm == nullptr ? x_TD : norm->forward(x_TD);
}

nn::Kept kept_by(const std::unique_ptr<nn::Norm>& norm) {
  return norm == nullptr ? nn::Kept{} : norm->kept();
}

}  // namespace

Layer::Layer(const std::string& name, int64_t hidden_size, LayerParts parts)
    : parts_(std::move(parts)),
      attention_tap_(name + parts_.taps.attention, hidden_size),
      output_tap_(name + parts_.taps.feed_forward, hidden_size) {}

Tensor Layer::attend(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const {
  return parts_.dropouts.attention.forward(parts_.attention->forward(x_TD, ropes, pass), pass);
}

Tensor Layer::feed_forward(const Tensor& x_TD, const nn::Pass& pass) const {
  return parts_.dropouts.feed_forward.forward(parts_.feed_forward->forward(x_TD, pass), pass);
}

nn::BlockOutput Layer::output(const Tensor& x_TD, const Tensor& block_TD, const nn::Norm* after) const {
  const bool is_on_sum = parts_.placement == NormPlacement::kOnSum;
  return is_on_sum ? nn::BlockOutput{block_TD, x_TD, after} : nn::BlockOutput{normed(block_TD, after), x_TD};
}

Tensor Layer::forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const {
  if (parts_.placement == NormPlacement::kParallel) {
    return in_parallel(x_TD, ropes, pass);
  }
  const LayerNorms& norms = parts_.norms;
  const Tensor block_TD = attend(normed(x_TD, norms.before_attention.get()), ropes, pass);
  const Tensor attended_TD = attention_tap_.forward(output(x_TD, block_TD, norms.after_attention.get()), pass);
  const auto feed = [this](const Tensor& attended_SD, const nn::Pass& pass) {
    const Tensor block_SD = feed_forward(normed(attended_SD, parts_.norms.before_feed_forward.get()), pass);
    return output_tap_.forward(output(attended_SD, block_SD, parts_.norms.after_feed_forward.get()), pass);
  };
  return nn::recomputed(pass.needed(attended_TD), pass.of_needed(), nn::Recompute::kFeedForward, feed);
}

Tensor Layer::in_parallel(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const {
  const nn::Norm* own_norm = parts_.norms.before_feed_forward.get();
  const Tensor normed_TD = normed(x_TD, parts_.norms.before_attention.get());
  const Tensor attended_SD = pass.needed(attend(normed_TD, ropes, pass));
  const nn::Pass rest = pass.of_needed();
  const auto feed = [this, own_norm](const Tensor& input_SD, const nn::Pass& pass) {
    return feed_forward(normed(input_SD, own_norm), pass);
  };
  const Tensor forwarded_SD =
      nn::recomputed(pass.needed(own_norm == nullptr ? normed_TD : x_TD), rest, nn::Recompute::kFeedForward, feed);
  const nn::Dropout& dropout = parts_.dropouts.sum;
  if (attention_tap_.is_plain() && output_tap_.is_plain()) {
    return pass.needed(x_TD) + dropout.forward(forwarded_SD + attended_SD, rest);
  }
  // One block after the other, as in the adapters library's GPT-J. Both draw the dropout of the sum, which is the same one.
  const Tensor stream_SD = attention_tap_.forward({dropout.forward(attended_SD, rest), pass.needed(x_TD)}, rest);
  return output_tap_.forward({dropout.forward(forwarded_SD, rest), stream_SD}, rest);
}

std::vector<nn::Host*> Layer::hosts() const {
  const LayerNorms& norms = parts_.norms;
  std::vector<nn::Host*> all = parts_.attention->hosts();
  const std::vector<nn::Host*> feed_forward = parts_.feed_forward->hosts();
  // BERT's norms belong to the modules of their blocks; elsewhere the norms come after both blocks.
  const auto end_of_attention = parts_.placement == NormPlacement::kOnSum ? norms.after_attention.get() : nullptr;
  all.push_back(end_of_attention);
  all.insert(all.end(), feed_forward.begin(), feed_forward.end());
  all.push_back(norms.before_attention.get());
  all.push_back(end_of_attention == nullptr ? norms.after_attention.get() : nullptr);
  all.insert(all.end(), {norms.before_feed_forward.get(), norms.after_feed_forward.get()});
  std::erase(all, nullptr);
  return all;
}

std::vector<nn::Host*> Layer::taps() {
  return {&parts_.attention->attention(), &attention_tap_, &output_tap_};
}

bool Layer::is_trained() const {
  const std::vector<nn::Host*> all = hosts();
  return attention().is_trained() || attention_tap_.is_trained() || output_tap_.is_trained() ||
         std::any_of(all.begin(), all.end(), [](const nn::Host* host) { return host->is_trained(); });
}

nn::LayerMemory Layer::memory() const {
  const LayerNorms& norms = parts_.norms;
  nn::Kept second = kept_by(norms.before_feed_forward);
  nn::Kept first = attention_tap_.kept();
  if (parts_.placement == NormPlacement::kParallel) {
    second.elements = 0;           // its input is also that of attention's norm
    first += output_tap_.kept();  // it is outside of what is recomputed
  } else {
    second += output_tap_.kept();
  }
  return {.attention = first + kept_by(norms.before_attention) + kept_by(norms.after_attention) + parts_.attention->kept(),
          .feed_forward = second + kept_by(norms.after_feed_forward) + parts_.feed_forward->kept(),
          .working = parts_.feed_forward->working(),
          .per_document = attention().kept_per_document()};
}

}  // namespace lora::models
