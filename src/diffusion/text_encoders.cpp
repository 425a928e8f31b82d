// N captions, L positions of text, D channels of states, P channels of the pooled text.
#include "lora/diffusion/text_encoders.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "diffusion/clip_text.h"
#include "diffusion/t5_text.h"
#include "lora/base/error.h"
#include "lora/tokenizer/fixed_length.h"

namespace lora::diffusion {

namespace {

/// What a family's network takes of one of its text encoders.
struct EncoderPlan {
  const char* component;
  bool is_t5 = false;
  bool with_projection = false;  ///< of CLIP's pooled state
  bool gives_states = true;
  bool before_last_layer = false;  ///< the states before CLIP's last layer, without a norm; otherwise the normed ones of the last layer
  bool gives_pooled = false;
  int64_t length = 0;  ///< of T5's texts; CLIP's have as many tokens as it has positions
};

const std::vector<EncoderPlan>& plans_of(PipelineFamily family) {
  static const std::vector<EncoderPlan> kStableDiffusion{{.component = "text_encoder"}};
  static const std::vector<EncoderPlan> kXl{
      {.component = "text_encoder", .before_last_layer = true},
      {.component = "text_encoder_2", .with_projection = true, .before_last_layer = true, .gives_pooled = true}};
  static const std::vector<EncoderPlan> kSd3{
      {.component = "text_encoder", .with_projection = true, .before_last_layer = true, .gives_pooled = true},
      {.component = "text_encoder_2", .with_projection = true, .before_last_layer = true, .gives_pooled = true},
      {.component = "text_encoder_3", .is_t5 = true, .length = 256}};
  static const std::vector<EncoderPlan> kFluxPlans{{.component = "text_encoder", .gives_states = false, .gives_pooled = true},
                                                   {.component = "text_encoder_2", .is_t5 = true, .length = 512}};
  switch (family) {
    case PipelineFamily::kStableDiffusion:
      return kStableDiffusion;
    case PipelineFamily::kStableDiffusionXl:
      return kXl;
    case PipelineFamily::kStableDiffusion3:
      return kSd3;
    case PipelineFamily::kFlux:
      break;
  }
  return kFluxPlans;
}

/// "tokenizer_2" of "text_encoder_2".
std::string tokenizer_of(const std::string& encoder) {
  return "tokenizer" + encoder.substr(std::string_view("text_encoder").size());
}

/// Throws model Error for a tokenizer of another class than the encoder's.
std::unique_ptr<tokenizer::Tokenizer> load_tokenizer_of(const Pipeline& pipeline, const EncoderPlan& plan) {
  std::unique_ptr<tokenizer::Tokenizer> tokenizer = pipeline.tokenizer(tokenizer_of(plan.component));
  const std::string expected = plan.is_t5 ? "T5Tokenizer" : "CLIPTokenizer";
  if (const std::string found = tokenizer->identity().substr(0, tokenizer->identity().find(' ')); found != expected) {
    model_error(tokenizer->files().front().parent_path().string(),
                "found a tokenizer of class " + found + ", expected " + expected + " (tokenizer_class in tokenizer_config.json)");
  }
  return tokenizer;
}

nn::Model load_encoder(const Pipeline& pipeline, const EncoderPlan& plan, const at::TensorOptions& options) {
  const ComponentConfig config = pipeline.config(plan.component);
  const std::unique_ptr<io::Checkpoint> weights = pipeline.weights(plan.component);
  nn::Model model;
  if (plan.is_t5) {
    model.body = std::make_unique<T5Text>(read_t5_text_config(config.reader()), *weights, options);
  } else {
    model.body = std::make_unique<ClipText>(read_clip_text_config(config.reader()), plan.with_projection, *weights, options);
  }
  return model;
}

/// The states of SD3's CLIP encoders, with zeros for the channels that only T5's have, and T5's after them.
Tensor followed_by(const Tensor& clip_NLD, const Tensor& t5_NLD) {
  return at::cat({at::constant_pad_nd(clip_NLD, {0, t5_NLD.size(2) - clip_NLD.size(2)}), t5_NLD}, 1);
}

}  // namespace

struct CaptionTokenizers::Impl {
  std::vector<std::unique_ptr<tokenizer::Tokenizer>> tokenizers;
  std::vector<int64_t> lengths;
};

CaptionTokenizers::CaptionTokenizers(const Pipeline& pipeline) : impl_(std::make_unique<Impl>()) {
  int64_t of_clip = 0;
  for (const EncoderPlan& plan : plans_of(pipeline.family())) {
    impl_->tokenizers.push_back(load_tokenizer_of(pipeline, plan));
    impl_->lengths.push_back(plan.length);
    if (!plan.is_t5) {
      const ComponentConfig config = pipeline.config(plan.component);
      const int64_t length = impl_->lengths.back() = read_clip_text_config(config.reader()).num_positions;
      if (of_clip != 0 && length != of_clip) {
        config.reader().fail("max_position_embeddings", "that of the first text encoder (" + std::to_string(of_clip) + ")");
      }
      of_clip = length;
    }
  }
}

CaptionTokenizers::~CaptionTokenizers() = default;
CaptionTokenizers::CaptionTokenizers(CaptionTokenizers&&) noexcept = default;

CaptionIds CaptionTokenizers::encode(const std::string& caption) const {
  CaptionIds ids;
  for (size_t i = 0; i < impl_->tokenizers.size(); ++i) {
    tokenizer::FixedLengthIds own = tokenizer::encode_to_length(*impl_->tokenizers[i], caption, impl_->lengths[i]);
    ids.num_cut = std::max(ids.num_cut, own.num_cut);
    ids.of_encoder.push_back(std::move(own.ids));
  }
  return ids;
}

const tokenizer::Tokenizer& CaptionTokenizers::first() const {
  return *impl_->tokenizers.front();
}

struct TextEncoders::Impl {
  std::vector<EncoderPlan> plans;
  int64_t clip_skip = 1;
  std::vector<nn::Model> models;

  /// The layers at the end that are not needed for the states.
  int64_t left_out(const EncoderPlan& plan) const { return clip_skip - 1 + (plan.before_last_layer ? 1 : 0); }
  void check_skip(const EncoderPlan& plan) const;
  Tensor states(size_t encoder, const nn::Pass& pass, std::vector<Tensor>& pooled) const;
};

void TextEncoders::Impl::check_skip(const EncoderPlan& plan) const {
  const auto* const clip = dynamic_cast<const ClipText*>(models.back().body.get());
  const int64_t layers = clip == nullptr ? 0 : clip->config().num_layers;
  if (clip_skip < 1 || (clip != nullptr && plan.gives_states && left_out(plan) >= layers)) {
    config_error("clip_skip", "found " + std::to_string(clip_skip) + ", expected 1 to " +
                                  std::to_string(layers - left_out(plan) + clip_skip - 1) + ", because " + plan.component + " has " +
                                  std::to_string(layers) + " layers");
  }
}

TextEncoders::TextEncoders(const Pipeline& pipeline, const at::TensorOptions& options) : impl_(std::make_unique<Impl>()) {
  impl_->plans = plans_of(pipeline.family());
  impl_->clip_skip = pipeline.clip_skip();
  const auto skips = [](const EncoderPlan& plan) { return plan.gives_states && !plan.is_t5; };
  if (impl_->clip_skip != 1 && std::none_of(impl_->plans.begin(), impl_->plans.end(), skips)) {
    config_error("clip_skip", "found " + std::to_string(impl_->clip_skip) + ", expected 1: the network takes no states of CLIP's layers");
  }
  for (const EncoderPlan& plan : impl_->plans) {
    impl_->models.push_back(load_encoder(pipeline, plan, options));
    impl_->check_skip(plan);
  }
}

TextEncoders::~TextEncoders() = default;
TextEncoders::TextEncoders(TextEncoders&&) noexcept = default;

std::vector<nn::Model>& TextEncoders::models() {
  return impl_->models;
}

nn::Batch TextEncoders::batch(size_t encoder, const std::vector<CaptionIds>& captions, const std::vector<int64_t>& sample_ids) const {
  const int64_t vocab_size = impl_->models[encoder].vocab_size();
  std::vector<nn::DocumentView> documents;
  for (size_t i = 0; i < captions.size(); ++i) {
    const std::vector<int32_t>& ids = captions[i].of_encoder[encoder];
    if (const auto largest = std::max_element(ids.begin(), ids.end()); largest != ids.end() && *largest >= vocab_size) {
      model_error("text encoder " + std::to_string(encoder + 1),
                  "the tokenizer gives the id " + std::to_string(*largest) + ", expected one below " + std::to_string(vocab_size) +
                      " (vocab_size). Likely cause: files of two models in one pipeline.");
    }
    documents.push_back({&ids, nullptr, sample_ids[i]});
  }
  return nn::make_token_batch(documents);
}

nn::ImageCondition TextEncoders::encode(const std::vector<CaptionIds>& captions) const {
  const at::NoGradGuard no_gradients;
  std::vector<nn::Pass> passes;
  for (size_t i = 0; i < impl_->models.size(); ++i) {
    const nn::Batch on_cpu = batch(i, captions, std::vector<int64_t>(captions.size(), 0));
    passes.push_back(nn::evaluation_pass(on_cpu.to(impl_->models[i].device())));
  }
  return encode(passes);
}

/// The states of one encoder, [N, L, D]; undefined if they are not taken.
Tensor TextEncoders::Impl::states(size_t encoder, const nn::Pass& pass, std::vector<Tensor>& pooled) const {
  const EncoderPlan& plan = plans[encoder];
  const nn::Body& body = *models[encoder].body;
  const auto by_caption = [&](const Tensor& states_TD) { return states_TD.view({pass.layout().num_documents(), -1, body.hidden_size()}); };
  if (plan.is_t5) {
    return by_caption(body.hidden(pass));
  }
  const auto& clip = dynamic_cast<const ClipText&>(body);
  const ClipStates own = clip.states(pass, {plan.gives_states ? left_out(plan) : 0, plan.gives_pooled});
  if (plan.gives_pooled) {
    pooled.push_back(own.pooled_NP);
  }
  return plan.gives_states ? by_caption(plan.before_last_layer ? own.skipped_TD : clip.final_norm(own.skipped_TD)) : Tensor();
}

/// CLIP's states are joined by channels, T5's follow them as further positions; pooled states are joined by channels.
nn::ImageCondition TextEncoders::encode(const std::vector<nn::Pass>& passes) const {
  std::vector<Tensor> of_clip, pooled;
  Tensor of_t5_NLD;
  for (size_t i = 0; i < passes.size(); ++i) {
    const Tensor states_NLD = impl_->states(i, passes[i], pooled);
    if (impl_->plans[i].is_t5) {
      of_t5_NLD = states_NLD;
    } else if (states_NLD.defined()) {
      of_clip.push_back(states_NLD);
    }
  }
  nn::ImageCondition condition;
  condition.states_NSD = of_clip.empty()        ? of_t5_NLD
                         : !of_t5_NLD.defined() ? at::cat(of_clip, 2)
                                                : followed_by(at::cat(of_clip, 2), of_t5_NLD);
  condition.pooled_NP = pooled.empty() ? Tensor() : at::cat(pooled, 1);
  return condition;
}

}  // namespace lora::diffusion
