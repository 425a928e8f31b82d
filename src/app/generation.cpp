#include "generation.h"

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/generate/eos_ids.h"
#include "lora/generate/text_stream.h"
#include "lora/nn/adapters.h"

namespace lora::app {

namespace {

const InferenceRequest& checked(const GenerateRequest& request) {
  generate::check_options(request.options);
  if (request.batch_size < 1) {
    config_error("--batch-size", "found " + std::to_string(request.batch_size) + ", expected a positive integer");
  }
  return request.inference;
}

}  // namespace

Generation::Generation(const GenerateRequest& request)
    : parts_(open_inference(checked(request))),
      template_choice_(request.chat_template),
      parse_special_tokens_(request.parse_special_tokens),
      options_(request.options) {
  if (request.prompt || request.chat || !options_.stop.empty()) {
    tokenizer();
  } else {
    try {
      tokenizer();
    } catch (const Error&) {  // rows of ids need none; a row of text will ask for it again
    }
  }
  options_.eos_ids =
      generate::find_eos_ids(parts_.options.path, parts_.base.config, tokenizer_ ? tokenizer_->eos_id() : std::optional<int32_t>());
}

const tokenizer::Tokenizer& Generation::tokenizer() {
  if (!tokenizer_) {
    tokenizer_ = parts_.tokenizer();
  }
  return *tokenizer_;
}

const data::ChatEncoder* Generation::chat_encoder() {
  if (!chat_encoder_) {
    chat_template_ = tokenizer::load_chat_template(template_choice_, parts_.options.tokenizer, tokenizer());
    chat_encoder_ = chat_template_ ? std::make_unique<data::ChatEncoder>(*chat_template_, tokenizer()) : nullptr;
  }
  return chat_encoder_.get();
}

const data::ChatEncoder& Generation::needed_chat_encoder() {
  const data::ChatEncoder* encoder = chat_encoder();
  if (encoder == nullptr) {
    config_error("--chat-template", "found none, and the model has none of its own: expected one of " +
                                        join(tokenizer::builtin_chat_templates()) + ", or a .jinja file");
  }
  return *encoder;
}

void Generation::end_at(int32_t id) {
  if (std::find(options_.eos_ids.begin(), options_.eos_ids.end(), id) == options_.eos_ids.end()) {
    options_.eos_ids.push_back(id);
  }
}

bool Generation::has_adapter(const std::string& name) const {
  return std::any_of(parts_.adapters.begin(), parts_.adapters.end(), [&name](const NamedAdapter& adapter) { return adapter.name == name; });
}

std::vector<std::string> Generation::adapter_names() const {
  std::vector<std::string> names;
  for (const NamedAdapter& adapter : parts_.adapters) {
    names.push_back(adapter.name);
  }
  return names;
}

std::string Generation::default_adapter() const {
  return parts_.adapters.empty() ? "" : parts_.adapters.front().name;
}

void Generation::warn_of_length(int64_t tokens) {
  const JsonReader config(parts_.base.config, (parts_.options.path / "config.json").string(), ErrorKind::kModel);
  const int64_t trained = config.integer("max_position_embeddings", tokens);
  if (tokens > trained && !warned_of_length_) {
    warned_of_length_ = true;
    log::warn("prompt and max_new_tokens come to " + with_thousands(tokens) + " tokens, more than the model's max_position_embeddings (" +
              with_thousands(trained) + "): its text may become worse beyond them");
  }
}

void Generation::complete(const std::vector<generate::Prompt>& prompts, const std::string& adapter,
                          const std::vector<std::string>& extra_stop,
                          const std::function<void(size_t prompt, const std::string& piece)>& on_text,
                          const std::function<void(size_t prompt, const generate::Completion&)>& on_finish) {
  std::vector<std::string> stop = options_.stop;
  stop.insert(stop.end(), extra_stop.begin(), extra_stop.end());
  std::vector<generate::TextStream> texts;
  for (const generate::Prompt& prompt : prompts) {
    warn_of_length(static_cast<int64_t>(prompt.ids.size()) + options_.max_new_tokens);
    if (tokenizer_) {
      texts.emplace_back(*tokenizer_, prompt.ids, stop);
    }
  }
  generate::Listener listener;
  listener.on_token = [&texts, &on_text](size_t prompt, int32_t id) {
    if (texts.empty()) {
      return true;
    }
    on_text(prompt, texts[prompt].push(id));
    return !texts[prompt].stopped();
  };
  listener.on_finish = [&texts, &on_text, &on_finish](size_t prompt, const generate::Completion& completion) {
    if (!texts.empty()) {
      on_text(prompt, texts[prompt].finish());
    }
    on_finish(prompt, completion);
  };
  nn::use_adapter(model(), adapter);
  generate::Generator(model(), options_).complete(prompts, listener);
}

}  // namespace lora::app
