#include "models/gguf_tokenizer.h"

#include <algorithm>
#include <array>

#include "lora/base/json.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "models/gguf_config.h"

namespace lora::models {

namespace {

constexpr const char* kTokens = "tokenizer.ggml.tokens";
constexpr const char* kPre = "tokenizer.ggml.pre";

constexpr const char* kSingleDigits =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kThreeDigits =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// How texts are split before BPE, by the name that llama.cpp's converter gives a tokenizer.
struct PreTokenizer {
  const char* name;
  const char* pattern;  ///< of a Split; null: GPT-2's own, which ByteLevel has
  bool splits_digits = false;
  bool is_falcons = false;
  bool normalizes = false;  ///< to NFC
  bool ignores_merges = false;
  bool adds_bos = false;  ///< unless the metadata say otherwise
};
constexpr std::array<PreTokenizer, 21> kPreTokenizers{{
    {"gpt-2", nullptr},
    {"phi-2", nullptr},
    {"jina-en", nullptr},
    {"olmo", nullptr, false, false, /*normalizes=*/true},
    {"gpt-neox", nullptr, false, false, /*normalizes=*/true},
    {"smollm", nullptr, /*splits_digits=*/true},
    {"refact", nullptr, /*splits_digits=*/true},
    {"starcoder", nullptr, /*splits_digits=*/true},
    {"command-r", nullptr, /*splits_digits=*/true, false, /*normalizes=*/true},
    {"falcon", nullptr, false, /*is_falcons=*/true},
    {"qwen2", kSingleDigits, false, false, /*normalizes=*/true},
    {"deepseek-r1-qwen", kSingleDigits, false, false, /*normalizes=*/true},
    {"megrez", kSingleDigits, false, false, /*normalizes=*/true},
    {"stablelm2", kSingleDigits, false, false, /*normalizes=*/true},
    {"llama-bpe", kThreeDigits, false, false, false, /*ignores_merges=*/true, /*adds_bos=*/true},
    {"llama-v3", kThreeDigits, false, false, false, /*ignores_merges=*/true, /*adds_bos=*/true},
    {"llama3", kThreeDigits, false, false, false, /*ignores_merges=*/true, /*adds_bos=*/true},
    {"falcon3", kThreeDigits, false, false, false, /*ignores_merges=*/true, /*adds_bos=*/true},
    {"smaug-bpe", kThreeDigits},
    {"dbrx", kThreeDigits},
    {"chatglm-bpe", kThreeDigits},
}};

const PreTokenizer& pre_tokenizer(const io::GgufFile& file) {
  const std::string name = file.text(kPre, "default");
  if (name == "default") {
    return kPreTokenizers.front();
  }
  std::vector<std::string> known;
  for (const PreTokenizer& entry : kPreTokenizers) {
    if (name == entry.name) {
      return entry;
    }
    known.emplace_back(entry.name);
  }
  file.fail(kPre, "one of " + join(known));
}

Json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

Json split_at(const char* pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}

Json pre_tokenizer_json(const PreTokenizer& pre) {
  Json parts = Json::array();
  if (pre.is_falcons) {
    parts = {{{"type", "Punctuation"}, {"behavior", "Contiguous"}},
             byte_level(true),
             {{"type", "Digits"}, {"individual_digits", false}},
             split_at("[0-9][0-9][0-9]")};
  } else if (pre.splits_digits) {
    parts = {{{"type", "Digits"}, {"individual_digits", true}}, byte_level(true)};
  } else if (pre.pattern != nullptr) {
    parts = {split_at(pre.pattern), byte_level(false)};
  } else {
    return byte_level(true);
  }
  return {{"type", "Sequence"}, {"pretokenizers", std::move(parts)}};
}

bool adds(const io::GgufFile& file, const std::string& role, bool otherwise) {
  return file.boolean("tokenizer.ggml.add_" + role + "_token", otherwise) && gguf_token_id(file, role) >= 0;
}

/// The template with BOS and EOS around a text; null if there are none.
Json post_processor(const io::GgufFile& file, const GgufTokens& tokens, bool adds_bos) {
  Json single = Json::array(), pair = Json::array(), specials = Json::object();
  const auto add = [&](const std::string& role, int type, bool is_pair_only) {
    const int64_t id = gguf_token_id(file, role);
    const std::string text(tokens.texts[static_cast<size_t>(id)]);
    const Json part{{"SpecialToken", {{"id", text}, {"type_id", type}}}};
    if (!is_pair_only) {
      single.push_back(part);
    }
    pair.push_back(part);
    specials[text] = {{"id", text}, {"ids", Json::array({id})}, {"tokens", Json::array({text})}};
  };
  const bool bos = adds(file, "bos", adds_bos), eos = adds(file, "eos", false);
  if (!bos && !eos) {
    return nullptr;
  }
  for (int type = 0; type < 2; ++type) {
    if (bos) {
      add("bos", type, type == 1);
    }
    const Json text{{"Sequence", {{"id", type == 0 ? "A" : "B"}, {"type_id", type}}}};
    pair.push_back(text);
    if (type == 0) {
      single.push_back(text);
    }
    if (eos) {
      add("eos", type, type == 1);
    }
  }
  return {
      {"type", "TemplateProcessing"}, {"single", std::move(single)}, {"pair", std::move(pair)}, {"special_tokens", std::move(specials)}};
}

Json vocabulary(const GgufTokens& tokens) {
  Json::object_t vocab;
  for (size_t id = 0; id < tokens.texts.size(); ++id) {
    vocab.emplace_back(std::string(tokens.texts[id]), id);  // emplace would search for the key
  }
  return vocab;
}

Json added_tokens(const GgufTokens& tokens) {
  Json added = Json::array();
  for (size_t id = 0; id < tokens.texts.size(); ++id) {
    if (tokens.types[id] == gguf_token::kControl || tokens.types[id] == gguf_token::kUserDefined) {
      added.push_back({{"id", id},
                       {"content", tokens.texts[id]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", tokens.types[id] == gguf_token::kControl}});
    }
  }
  return added;
}

/// Throws model Error naming `key` for text that is not UTF-8.
std::string dumped(const Json& json, const io::GgufFile& file, const char* key) {
  try {
    return json.dump();
  } catch (const Json::exception&) {
    model_error(file.path().string() + ": " + key, "found text that is not UTF-8. Likely cause: a damaged file.");
  }
}

}  // namespace

void warn_of_unknown_split(const io::GgufFile& file) {
  if (file.text(kPre, "default") == "default") {
    log::warn("[" + file.path().string() + "] " + kPre +
              " does not say how texts are split: they are split as GPT-2's. Likely cause: an "
              "old file. Convert the model again if its tokenizer differs.");
  }
}

GgufVocabulary gguf_vocabulary(const io::GgufFile& file) {
  constexpr const char* kModel = "tokenizer.ggml.model";
  const std::string model = file.text(kModel, "none");
  if (model != "gpt2" && model != "llama" && model != "none" && model != "no_vocab") {
    file.fail(kModel, "gpt2 (byte-level BPE) or llama (SentencePiece)");
  }
  return model == "gpt2" ? GgufVocabulary::kBpe : model == "llama" ? GgufVocabulary::kSentencePiece : GgufVocabulary::kNone;
}

GgufTokens gguf_tokens(const io::GgufFile& file) {
  constexpr const char* kTypes = "tokenizer.ggml.token_type";
  GgufTokens tokens{file.texts(kTokens), {}};
  if (file.has(kTypes) && file.length(kTypes) != static_cast<int64_t>(tokens.texts.size())) {
    file.fail(kTypes, "one type for each of " + std::to_string(tokens.texts.size()) + " tokens");
  }
  tokens.types = file.has(kTypes) ? file.integers(kTypes) : std::vector<int64_t>(tokens.texts.size(), 1);
  return tokens;
}

int64_t gguf_token_id(const io::GgufFile& file, const std::string& role) {
  const std::string key = "tokenizer.ggml." + role + "_token_id";
  if (!file.has(key)) {
    return -1;
  }
  const int64_t id = file.integer(key);
  if (id < 0 || id >= file.length(kTokens)) {
    file.fail(key, "the id of one of " + std::to_string(file.length(kTokens)) + " tokens");
  }
  return id;
}

std::string gguf_tokenizer_json(const io::GgufFile& file) {
  const GgufTokens tokens = gguf_tokens(file);
  const PreTokenizer& pre = pre_tokenizer(file);
  Json merges = Json::array();
  for (const std::string_view merge : file.texts("tokenizer.ggml.merges")) {
    merges.push_back(merge);
  }
  const Json model{{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"ignore_merges", pre.ignores_merges},
                   {"vocab", vocabulary(tokens)},
                   {"merges", std::move(merges)}};
  return dumped({{"version", "1.0"},
                 {"truncation", nullptr},
                 {"padding", nullptr},
                 {"added_tokens", added_tokens(tokens)},
                 {"normalizer", pre.normalizes ? Json{{"type", "NFC"}} : Json(nullptr)},
                 {"pre_tokenizer", pre_tokenizer_json(pre)},
                 {"post_processor", post_processor(file, tokens, pre.adds_bos)},
                 {"decoder", byte_level(true)},
                 {"model", model}},
                file, kTokens);
}

std::string gguf_tokenizer_config(const io::GgufFile& file) {
  const bool is_bpe = gguf_vocabulary(file) == GgufVocabulary::kBpe;
  const GgufTokens tokens = gguf_tokens(file);
  const std::string type = gguf_architecture(file).model_type;
  Json config{{"tokenizer_class", is_bpe                      ? "PreTrainedTokenizerFast"
                                  : type.starts_with("gemma") ? "GemmaTokenizer"
                                                              : "LlamaTokenizer"},
              {"clean_up_tokenization_spaces", false}};
  for (const auto& [key, role] : {std::pair("bos_token", "bos"), std::pair("eos_token", "eos"), std::pair("unk_token", "unknown"),
                                  std::pair("pad_token", "padding")}) {
    if (const int64_t id = gguf_token_id(file, role); id >= 0) {
      config[key] = std::string(tokens.texts[static_cast<size_t>(id)]);
    }
  }
  config["add_bos_token"] = adds(file, "bos", is_bpe ? pre_tokenizer(file).adds_bos : true);
  config["add_eos_token"] = adds(file, "eos", false);
  if (!is_bpe) {
    config["add_prefix_space"] = file.boolean("tokenizer.ggml.add_space_prefix", true);
  }
  constexpr const char* kTemplate = "tokenizer.chat_template";
  constexpr const char* kTools = "tokenizer.chat_template.tool_use";
  if (file.has(kTemplate) && file.has(kTools)) {
    config["chat_template"] = {{{"name", "default"}, {"template", file.text(kTemplate)}},
                               {{"name", "tool_use"}, {"template", file.text(kTools)}}};
  } else if (file.has(kTemplate)) {
    config["chat_template"] = file.text(kTemplate);
  }
  return dumped(config, file, kTemplate);
}

std::string gguf_generation_config(const io::GgufFile& file) {
  const int64_t eos = gguf_token_id(file, "eos"), end_of_turn = gguf_token_id(file, "eot");
  if (end_of_turn < 0 || end_of_turn == eos) {
    return "";
  }
  return Json{{"eos_token_id", eos < 0 ? Json(end_of_turn) : Json::array({eos, end_of_turn})}}.dump();
}

}  // namespace lora::models
