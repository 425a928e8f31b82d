// N captions, L positions of text, D channels of states, P channels of the pooled text.
#include "lora/diffusion/text_encoders.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "diffusion/clip_text.h"
#include "lora/base/error.h"
#include "lora/tokenizer/fixed_length.h"

namespace lora::diffusion {

namespace {

/// "tokenizer_2" of "text_encoder_2".
std::string tokenizer_of(const std::string& encoder) {
  return "tokenizer" + encoder.substr(std::string_view("text_encoder").size());
}

std::unique_ptr<tokenizer::Tokenizer> load_clip_tokenizer(const Pipeline& pipeline, const std::string& component) {
  std::unique_ptr<tokenizer::Tokenizer> tokenizer = pipeline.tokenizer(component);
  const std::string found = tokenizer->identity().substr(0, tokenizer->identity().find(' '));
  if (found != "CLIPTokenizer") {
    model_error(tokenizer->files().front().parent_path().string(),
                "found a tokenizer of class " + found + ", expected CLIPTokenizer (tokenizer_class in tokenizer_config.json)");
  }
  return tokenizer;
}

void require_clip_encoders(const Pipeline& pipeline) {
  if (pipeline.family() != PipelineFamily::kStableDiffusion && pipeline.family() != PipelineFamily::kStableDiffusionXl) {
    model_error(pipeline.path().string(), "its text encoders are not supported, expected a pipeline of Stable Diffusion 1.x, 2.x or XL");
  }
}

nn::Model load_clip(const Pipeline& pipeline, const std::string& component, bool with_projection, const at::TensorOptions& options) {
  const ComponentConfig config = pipeline.config(component);
  const std::unique_ptr<io::Checkpoint> weights = pipeline.weights(component);
  nn::Model model;
  model.body = std::make_unique<ClipText>(read_clip_text_config(config.reader()), with_projection, *weights, options);
  return model;
}

}  // namespace

struct CaptionTokenizers::Impl {
  std::vector<std::unique_ptr<tokenizer::Tokenizer>> tokenizers;
  std::vector<int64_t> lengths;
};

CaptionTokenizers::CaptionTokenizers(const Pipeline& pipeline) : impl_(std::make_unique<Impl>()) {
  require_clip_encoders(pipeline);
  for (const std::string& encoder : pipeline.text_encoders()) {
    impl_->tokenizers.push_back(load_clip_tokenizer(pipeline, tokenizer_of(encoder)));
    const ComponentConfig config = pipeline.config(encoder);
    impl_->lengths.push_back(read_clip_text_config(config.reader()).num_positions);
    if (impl_->lengths.back() != impl_->lengths.front()) {
      config.reader().fail("max_position_embeddings", "that of the first text encoder (" + std::to_string(impl_->lengths.front()) + ")");
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
  bool is_xl = false;
  int64_t clip_skip = 0;
  std::vector<nn::Model> models;

  const ClipText& clip(size_t encoder) const { return static_cast<const ClipText&>(*models[encoder].body); }
};

TextEncoders::TextEncoders(const Pipeline& pipeline, const at::TensorOptions& options, int64_t clip_skip)
    : impl_(std::make_unique<Impl>()) {
  require_clip_encoders(pipeline);
  impl_->is_xl = pipeline.family() == PipelineFamily::kStableDiffusionXl;
  impl_->clip_skip = clip_skip;
  const int64_t num_left_out = clip_skip + (impl_->is_xl ? 1 : 0);
  for (const std::string& encoder : pipeline.text_encoders()) {
    impl_->models.push_back(load_clip(pipeline, encoder, /*with_projection=*/encoder == "text_encoder_2", options));
    if (const int64_t layers = impl_->clip(impl_->models.size() - 1).config().num_layers; clip_skip < 0 || num_left_out >= layers) {
      config_error("clip_skip", "found " + std::to_string(clip_skip) + ", expected a number from 0 to below the " +
                                    std::to_string(layers - num_left_out + clip_skip) + " layers of " + encoder);
    }
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

/// SDXL joins the states before the last layer of both encoders, without a norm; others take the normed states of the last layer.
nn::ImageCondition TextEncoders::encode(const std::vector<nn::Pass>& passes) const {
  nn::ImageCondition condition;
  std::vector<Tensor> states;
  for (size_t i = 0; i < passes.size(); ++i) {
    const ClipText& clip = impl_->clip(i);
    const bool is_last = i + 1 == passes.size();
    const ClipStates own = clip.states(passes[i], {impl_->clip_skip + (impl_->is_xl ? 1 : 0), /*pooled=*/impl_->is_xl && is_last});
    const Tensor states_TD = impl_->is_xl ? own.skipped_TD : clip.final_norm(own.skipped_TD);
    states.push_back(states_TD.view({passes[i].layout().num_documents(), -1, clip.hidden_size()}));
    condition.pooled_NP = own.pooled_NP;
  }
  condition.states_NSD = at::cat(states, 2);
  return condition;
}

}  // namespace lora::diffusion
