#include "tokenizer/json/class_builders.h"

#include <algorithm>

#include "tokenizer/space_symbol.h"

namespace lora::tokenizer {
namespace {

using IdOf = std::function<int32_t(const std::string& token)>;

constexpr const char* kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string kSpace(kSpaceSymbol);

/// The text of a role's token, which may be the class's default. Empty: there is none.
std::string text_of(const FolderSettings& settings, const char* role) {
  const AddedToken* token = settings.role(role);
  return token != nullptr ? token->content : "";
}

Json byte_level(bool add_prefix_space, bool use_regex = true) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", add_prefix_space}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

Json replace(const std::string& from, const std::string& to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

/// The decoder of tokens that write a space as ▁ and bytes as <0x0A>.
Json space_decoder(bool strips_first) {
  Json parts = Json::array({replace(kSpace, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
  if (strips_first) {
    parts.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return {{"type", "Sequence"}, {"decoders", std::move(parts)}};
}

/// The file's model with the options that a class sets.
void set_model(Json& file, const Json& options) {
  Json old = std::move(file["model"]);
  Json& model = file["model"] = options;
  for (const char* key : {"type", "vocab", "merges"}) {
    if (old.contains(key)) {
      model[key] = std::move(old[key]);
    }
  }
}

Json special_part(const std::string& token, int type) {
  return {{"SpecialToken", {{"id", token}, {"type_id", type}}}};
}

Json text_part(const char* name, int type) {
  return {{"Sequence", {{"id", name}, {"type_id", type}}}};
}

Json definitions(const std::vector<std::string>& tokens, const IdOf& id_of) {
  Json specials = Json::object();
  for (const std::string& token : tokens) {
    specials[token] = {{"id", token}, {"ids", Json::array({id_of(token)})}, {"tokens", Json::array({token})}};
  }
  return specials;
}

Json bert_around(const FolderSettings& settings, const IdOf& id_of) {
  const std::string cls = text_of(settings, "cls_token");
  const std::string sep = text_of(settings, "sep_token");
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({special_part(cls, 0), text_part("A", 0), special_part(sep, 0)})},
          {"pair", Json::array({special_part(cls, 0), text_part("A", 0), special_part(sep, 0), text_part("B", 1), special_part(sep, 1)})},
          {"special_tokens", definitions({cls, sep}, id_of)}};
}

void build_bert(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  file["normalizer"] = {{"type", "BertNormalizer"},
                        {"clean_text", true},
                        {"handle_chinese_chars", settings.tokenize_chinese_chars.value_or(true)},
                        {"strip_accents", settings.strip_accents ? Json(*settings.strip_accents) : Json(nullptr)},
                        {"lowercase", settings.do_lower_case.value_or(true)}};
  file["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  file["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  set_model(file, {{"unk_token", text_of(settings, "unk_token")}, {"continuing_subword_prefix", "##"}, {"max_input_chars_per_word", 100}});
  traits.around_text = [settings](const IdOf& id_of) { return bert_around(settings, id_of); };
}

void build_gpt2(const FolderSettings& settings, Json& file, ClassTraits& /*traits*/) {
  file["normalizer"] = nullptr;
  file["pre_tokenizer"] = byte_level(settings.add_prefix_space.value_or(false));
  file["decoder"] = byte_level(true);
  set_model(file, Json::object());
}

void build_roberta(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  build_gpt2(settings, file, traits);
  traits.around_text = [settings](const IdOf& id_of) {
    const auto named = [&](const char* role) { return Json::array({text_of(settings, role), id_of(text_of(settings, role))}); };
    return Json{{"type", "RobertaProcessing"}, {"sep", named("sep_token")}, {"cls", named("cls_token")}};
  };
}

void build_gpt_neox(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  build_gpt2(settings, file, traits);
  file["normalizer"] = {{"type", "NFC"}};
  file["post_processor"] = nullptr;  // what the file puts around a text is dropped
}

void build_qwen2(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  file["normalizer"] = {{"type", "NFC"}};
  const Json split{{"type", "Split"}, {"pattern", {{"Regex", kQwen2Pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  file["pre_tokenizer"] = {{"type", "Sequence"},
                           {"pretokenizers", {split, byte_level(settings.add_prefix_space.value_or(false), /*use_regex=*/false)}}};
  file["decoder"] = byte_level(true);
  set_model(file, Json::object());
  traits.renews_special = true;
}

void build_llama(const FolderSettings& settings, Json& file, ClassTraits& /*traits*/) {
  const bool has_prefix = settings.add_prefix_space.value_or(true);
  file["normalizer"] = nullptr;
  file["pre_tokenizer"] = {{"type", "Metaspace"},
                           {"replacement", kSpace},
                           {"prepend_scheme", !has_prefix                       ? "never"
                                              : settings.legacy.value_or(false) ? "always"
                                                                                : "first"},
                           {"split", false}};
  file["decoder"] = space_decoder(has_prefix);
  set_model(file, {{"fuse_unk", true}, {"byte_fallback", true}});
}

void build_gemma(const FolderSettings& settings, Json& file, ClassTraits& /*traits*/) {
  file["normalizer"] = replace(" ", kSpace);
  file["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"String", " "}}}, {"behavior", "MergedWithPrevious"}, {"invert", false}};
  file["decoder"] = space_decoder(/*strips_first=*/false);
  set_model(file, {{"unk_token", text_of(settings, "unk_token")}, {"fuse_unk", true}, {"byte_fallback", true}});
}

/// The table of a SentencePiece model in a file's normalizer, which is kept; null where there is none.
Json precompiled_of(const Json& normalizer) {
  if (normalizer.is_object() && normalizer.value("type", "") == "Precompiled") {
    return normalizer;
  }
  for (const Json& part : normalizer.is_object() ? normalizer.value("normalizers", Json::array()) : Json::array()) {
    if (const Json found = precompiled_of(part); !found.is_null()) {
      return found;
    }
  }
  return nullptr;
}

void build_unigram(const char* prepend_scheme, int unk_id, Json& file) {
  const Json metaspace{{"type", "Metaspace"}, {"replacement", kSpace}, {"prepend_scheme", prepend_scheme}, {"split", true}};
  file["normalizer"] = precompiled_of(file.value("normalizer", Json()));
  file["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", Json::array({{{"type", "WhitespaceSplit"}}, metaspace})}};
  file["decoder"] = metaspace;
  set_model(file, {{"unk_id", unk_id}, {"byte_fallback", false}});
}

void build_xlm_roberta(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  build_unigram(settings.add_prefix_space.value_or(true) ? "always" : "never", /*unk_id=*/3, file);
  traits.around_text = [settings](const IdOf& id_of) {
    const Json bos = special_part(text_of(settings, "bos_token"), 0), eos = special_part(text_of(settings, "eos_token"), 0);
    return Json{{"type", "TemplateProcessing"},
                {"single", Json::array({bos, text_part("A", 0), eos})},
                {"pair", Json::array({bos, text_part("A", 0), eos, eos, text_part("B", 0), eos})},
                {"special_tokens", definitions({text_of(settings, "bos_token"), text_of(settings, "eos_token")}, id_of)}};
  };
}

void build_t5(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  build_unigram("always", /*unk_id=*/2, file);
  traits.around_text = [settings](const IdOf& id_of) {
    const Json eos = special_part("</s>", 0);
    return Json{{"type", "TemplateProcessing"},
                {"single", Json::array({text_part("A", 0), eos})},
                {"pair", Json::array({text_part("A", 0), eos, text_part("B", 0), eos})},
                {"special_tokens", {{"</s>", {{"id", "</s>"}, {"ids", Json::array({id_of(text_of(settings, "eos_token"))})}}}}}};
  };
}

/// The default tokens of RoBERTa and of those that took its roles over.
const std::vector<std::pair<const char*, const char*>> kRobertaTokens{
    {"bos_token", "<s>"},   {"eos_token", "</s>"}, {"unk_token", "<unk>"},  {"sep_token", "</s>"},
    {"pad_token", "<pad>"}, {"cls_token", "<s>"},  {"mask_token", "<mask>"}};

const std::vector<TokenizerClass>& classes() {
  static const std::vector<TokenizerClass> kClasses{
      {"BertTokenizer",
       "WordPiece",
       {{"unk_token", "[UNK]"}, {"sep_token", "[SEP]"}, {"pad_token", "[PAD]"}, {"cls_token", "[CLS]"}, {"mask_token", "[MASK]"}},
       build_bert},
      {"GPT2Tokenizer",
       "BPE",
       {{"bos_token", "<|endoftext|>"}, {"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}},
       build_gpt2},
      {"GPTNeoXTokenizer",
       "BPE",
       {{"bos_token", "<|endoftext|>"}, {"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}, {"pad_token", "<|padding|>"}},
       build_gpt_neox},
      {"GemmaTokenizer",
       "BPE",
       {{"bos_token", "<bos>"}, {"eos_token", "<eos>"}, {"unk_token", "<unk>"}, {"pad_token", "<pad>"}, {"mask_token", "<mask>"}},
       build_gemma},
      {"LlamaTokenizer", "BPE", {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}}, build_llama},
      {"Qwen2Tokenizer",
       "BPE",
       {{"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}, {"pad_token", "<|endoftext|>"}},
       build_qwen2},
      {"RobertaTokenizer", "BPE", kRobertaTokens, build_roberta},
      {"T5Tokenizer", "Unigram", {{"eos_token", "</s>"}, {"unk_token", "<unk>"}, {"pad_token", "<pad>"}}, build_t5},
      {"XLMRobertaTokenizer", "Unigram", kRobertaTokens, build_xlm_roberta},
  };
  return kClasses;
}

}  // namespace

const TokenizerClass* find_class(const std::string& name) {
  const auto found = std::find_if(classes().begin(), classes().end(), [&name](const TokenizerClass& entry) { return name == entry.name; });
  return found != classes().end() ? &*found : nullptr;
}

AroundText bos_and_eos_around(const FolderSettings& settings) {
  const std::string bos = settings.add_bos_token.value_or(false) ? text_of(settings, "bos_token") : "";
  const std::string eos = settings.add_eos_token.value_or(false) ? text_of(settings, "eos_token") : "";
  if (bos.empty() && eos.empty()) {
    return nullptr;
  }
  std::vector<std::string> named{bos, eos};
  std::erase(named, "");
  return [bos, eos, named](const IdOf& id_of) {
    const auto around = [&](const char* text, int type) {
      Json parts = Json::array();
      if (!bos.empty()) {
        parts.push_back(special_part(bos, type));
      }
      parts.push_back(text_part(text, type));
      if (!eos.empty()) {
        parts.push_back(special_part(eos, type));
      }
      return parts;
    };
    const Json single = around("A", 0);
    Json pair = single;
    for (const Json& part : around("B", 1)) {
      pair.push_back(part);
    }
    return Json{{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", definitions(named, id_of)}};
  };
}

}  // namespace lora::tokenizer
