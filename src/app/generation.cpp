#include "app/generation.h"

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
  generate::require_valid_options(request.options);
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
  if (request.prompt || request.message || request.chat || !options_.stop.empty()) {
    tokenizer();
  } else {
    try {
      tokenizer();
    } catch (const Error&) {  // rows of ids need no tokenizer; a row of text will report what is missing
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

const Generation::AdapterChat& Generation::chat_of(const std::string& adapter) {
  const auto [entry, is_new] = chats_.try_emplace(adapter);
  AdapterChat& chat = entry->second;
  if (is_new) {
    chat.chat_template =
        tokenizer::load_chat_template(parts_.template_choice(adapter, template_choice_), parts_.options.tokenizer, tokenizer());
    if (chat.chat_template != nullptr) {
      chat.encoder = std::make_unique<data::ChatEncoder>(*chat.chat_template, tokenizer());
      if (const auto end = chat.encoder->turn_end()) {
        chat.turn_ends.push_back(*end);
      }
    }
  }
  return chat;
}

const data::ChatEncoder* Generation::chat_encoder(const std::string& adapter) {
  return chat_of(adapter).encoder.get();
}

const data::ChatEncoder& Generation::needed_chat_encoder(const std::string& adapter) {
  const data::ChatEncoder* encoder = chat_encoder(adapter);
  if (encoder == nullptr) {
    config_error("--chat-template",
                 "found none, and neither the model nor its adapter has one: expected " + tokenizer::known_chat_templates());
  }
  return *encoder;
}

const data::ChatEncoder* Generation::instruction_encoder(const std::string& adapter) {
  const bool is_given = parts_.template_choice(adapter, template_choice_).is_given();
  const data::ChatEncoder* encoder = is_given ? chat_encoder(adapter) : nullptr;
  if (!reported_instructions_) {
    reported_instructions_ = true;
    log::info("instruction rows are " +
              (encoder == nullptr ? "put into Alpaca's prompt" : "written by " + encoder->chat_template().name()));
  }
  return encoder;
}

std::vector<int32_t> Generation::turn_ends(const std::string& adapter) {
  return chat_of(adapter).turn_ends;
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
    log::warn("the prompt and max_new_tokens add up to " + with_thousands(tokens) +
              " tokens, more than the model's max_position_embeddings (" + with_thousands(trained) + "): text beyond that may get worse");
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
