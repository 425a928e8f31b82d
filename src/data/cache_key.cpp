#include "data/cache_key.h"

#include "data/formats.h"
#include "lora/base/file.h"
#include "lora/base/json.h"

namespace lora::data {
namespace {

// Increase it when a row's ids or labels change, or when the layout of the cache file changes.
constexpr int kVersion = 9;

// The structs are unpacked by name, so that a new field does not compile until its author has decided whether it is part of the key.
Json source_json(const SourceOptions& source) {
  const auto& [path, format, columns, weight, limit, documents, prior] = source;
  return {{"format", kRowFormats.name(format)},
          {"columns", columns},
          {"limit", limit ? Json(*limit) : Json(nullptr)},
          {"documents", kTextDocuments.name(documents)}};
}

Json options_json(const DataOptions& options) {
  const auto& [train, eval, eval_fraction, max_length, overlength, packing, tokens_per_batch, train_on, chat_template, append_eos,
               parse_special_tokens, shuffle, cache_dir, images] = options;
  return {{"max_length", max_length},
          {"overlength", kOverlengths.name(overlength)},
          {"train_on", kTrainOn.name(train_on)},
          {"append_eos", append_eos},
          {"parse_special_tokens", parse_special_tokens}};
}

Json tokenizer_json(const tokenizer::Tokenizer* tokenizer) {
  Json hashes = Json::array();
  if (tokenizer != nullptr) {
    hashes.push_back(tokenizer->identity());
    for (const fs::path& file : tokenizer->files()) {
      hashes.push_back({file.filename().string(), sha256_of_file(file, ErrorKind::kModel)});
    }
  }
  return hashes;
}

}  // namespace

std::string cache_key(const std::vector<SourceOptions>& sources, const std::vector<PlannedFile>& files,
                      const std::vector<std::string>& hashes, const DataOptions& options, const LoadContext& context) {
  const auto& [tokenizer, vocab_size, keep_unsupervised, num_threads, chat_template, instruction_template, images, one_form] = context;
  Json key{{"version", kVersion}, {"options", options_json(options)}, {"vocab_size", context.num_ids()}, {"all", keep_unsupervised}};
  bool needs_tokenizer = false;
  for (const SourceOptions& source : sources) {
    key["sources"].push_back(source_json(source));
    needs_tokenizer = needs_tokenizer || source.format != RowFormat::kTokens;  // rows of a classification may have texts
  }
  for (size_t i = 0; i < files.size(); ++i) {
    key["files"].push_back({{"source", files[i].source}, {"kind", files[i].kind->ending}, {"sha256", hashes[i]}});
  }
  if (options.overlength == Overlength::kSplit && tokenizer != nullptr && tokenizer->bos_id()) {
    key["bos"] = *tokenizer->bos_id();  // it also affects how rows of ids are split
  }
  key["tokenizer"] = tokenizer_json(needs_tokenizer ? tokenizer : nullptr);
  key["chat_template"] = chat_template != nullptr ? chat_template->identity() : "";
  key["instruction_template"] = instruction_template != nullptr ? instruction_template->identity() : "";
  return sha256(key.dump());
}

}  // namespace lora::data
