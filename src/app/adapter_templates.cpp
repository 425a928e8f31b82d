#include "app/adapter_templates.h"

#include <algorithm>

#include "lora/base/bundle.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/json.h"
#include "lora/base/log.h"
#include "lora/data/chat.h"
#include "lora/generate/eos_ids.h"

namespace lora::app {

std::optional<tokenizer::TemplateTexts> shared_template(const std::vector<fs::path>& adapters) {
  std::optional<tokenizer::TemplateTexts> shared;
  for (const fs::path& adapter : adapters) {
    std::optional<tokenizer::TemplateTexts> own = tokenizer::read_template_texts(adapter);
    if (own && shared && *own != *shared) {
      log::warn("[" + adapter.string() +
                "] was trained with a different chat template from the adapters before it: the result gets no chat template");
      return std::nullopt;
    }
    if (own) {
      shared = std::move(own);
    }
  }
  return shared;
}

bool write_shared_template(const std::vector<fs::path>& adapters, const fs::path& folder) {
  const std::optional<tokenizer::TemplateTexts> shared = shared_template(adapters);
  const bool is_new = shared && shared != tokenizer::read_template_texts(folder);
  if (is_new) {
    tokenizer::write_template_texts(folder, *shared);
  }
  return is_new;
}

void end_generation_at_turns(const fs::path& folder) {
  if (!tokenizer::has_tokenizer(folder)) {
    return;
  }
  std::optional<int32_t> end;
  std::vector<int32_t> ids;
  const Json config = read_json(folder / "config.json", ErrorKind::kModel);
  try {
    const auto tokenizer = tokenizer::load_tokenizer(folder);
    const auto chat_template = tokenizer::load_chat_template({""}, folder, *tokenizer);
    end = chat_template == nullptr ? std::nullopt : data::ChatEncoder(*chat_template, *tokenizer).turn_end();
    ids = generate::find_eos_ids(folder, config, tokenizer->eos_id());
  } catch (const Error& error) {  // a faulty tokenizer must not stop the weights from being merged
    log::warn(std::string("the chat template of the new folder cannot be used: ") + error.what());
    return;
  }
  if (!end || std::find(ids.begin(), ids.end(), *end) != ids.end()) {
    return;
  }
  ids.push_back(*end);
  const fs::path file = folder / "generation_config.json";
  Json generation = Json::object();
  if (is_file(file)) {
    generation = read_json(file, ErrorKind::kModel);
  } else {  // without this file transformers takes these keys from config.json
    for (const char* key : {"bos_token_id", "pad_token_id"}) {
      if (config.contains(key) && !config[key].is_null()) {
        generation[key] = config[key];
      }
    }
  }
  generation["eos_token_id"] = ids;
  write_file_atomically(file, generation.dump(2) + "\n");
}

}  // namespace lora::app
