#include "inference.h"

#include <algorithm>

#include "load_base.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/config/command_line.h"

namespace lora::app {

namespace {

struct AdapterFlag {
  std::string name;
  fs::path folder;
};

/// "NAME=DIR" or "DIR". A folder whose own name has a '=' can be written as ./a=b.
AdapterFlag parse_adapter_flag(const std::string& flag) {
  const size_t equals = flag.find('=');
  const size_t slash = flag.find('/');
  if (equals == std::string::npos || slash < equals) {
    return {"default", flag};
  }
  return {flag.substr(0, equals), flag.substr(equals + 1)};
}

}  // namespace

std::unique_ptr<tokenizer::Tokenizer> InferenceParts::tokenizer() const {
  std::unique_ptr<tokenizer::Tokenizer> loaded = tokenizer::load_tokenizer(options.tokenizer);
  check_vocabulary(*loaded, *base.model, options.tokenizer.string());
  return loaded;
}

std::unique_ptr<tokenizer::ChatTemplate> InferenceParts::chat_template(const data::SourceOptions& source,
                                                                       const tokenizer::Tokenizer* tokenizer,
                                                                       const std::string& choice) const {
  return source.format == data::RowFormat::kMessages ? tokenizer::load_chat_template(choice, options.tokenizer, *tokenizer) : nullptr;
}

void check_vocabulary(const tokenizer::Tokenizer& tokenizer, const nn::Model& model, const std::string& where) {
  if (tokenizer.vocab_size() > model.vocab_size()) {
    model_error(where, "the tokenizer is not this model's: found a vocabulary of " + std::to_string(tokenizer.vocab_size()) +
                           ", expected at most the model's " + std::to_string(model.vocab_size()));
  }
}

InferenceParts open_inference(const InferenceRequest& request) {
  InferenceParts parts;
  parts.options = config::read_model_flags(
      {request.model, request.tokenizer, request.dtype, request.device, request.trust_torchscript, request.inputs, request.output},
      request.surroundings);
  // The adapters' configs first: what is wrong there is known at once.
  std::vector<std::pair<AdapterFlag, peft::LoraOptions>> adapters;
  for (const std::string& flag : request.adapters) {
    const AdapterFlag parsed = parse_adapter_flag(flag);
    const auto same_name = [&parsed](const auto& other) { return other.first.name == parsed.name; };
    if (parsed.name.empty() || parsed.folder.empty() || std::any_of(adapters.begin(), adapters.end(), same_name)) {
      config_error("--adapter", "found '" + flag + "', expected DIR or NAME=DIR with a name of its own for each adapter");
    }
    adapters.emplace_back(parsed, config::read_adapter_folder(parsed.folder));
  }
  parts.base = load_base(parts.options, /*seed=*/0);
  const peft::BaseReference base(parts.options.name, parts.base.fingerprint, request.allow_other_base);
  for (const auto& [flag, options] : adapters) {
    parts.adapters.push_back({flag.name, peft::attach_lora(options, *parts.base.model, base, /*seed=*/0, flag.name)});
  }
  return parts;
}

}  // namespace lora::app
