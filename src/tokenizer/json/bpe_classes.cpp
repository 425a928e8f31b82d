#include "tokenizer/json/class_builders.h"
#include "tokenizer/json/class_parts.h"
#include "tokenizer/space_symbol.h"

namespace lora::tokenizer {
namespace {

constexpr const char* kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen3_5Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kClipPattern =
    R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)";

void build_gpt2(const FolderSettings& settings, Json& file, ClassTraits& /*traits*/) {
  file["normalizer"] = nullptr;
  file["pre_tokenizer"] = byte_level(settings.add_prefix_space.value_or(false));
  file["decoder"] = byte_level(true);
  set_model(file, Json::object());
}

void build_roberta(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  build_gpt2(settings, file, traits);
  traits.around_text = roberta_around(settings);
}

void build_gpt_neox(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  build_gpt2(settings, file, traits);
  file["normalizer"] = {{"type", "NFC"}};
  file["post_processor"] = nullptr;  // the class drops the file's post-processor
}

void build_qwen(const char* pattern, const FolderSettings& settings, Json& file) {
  file["normalizer"] = {{"type", "NFC"}};
  const Json bytes = byte_level(settings.add_prefix_space.value_or(false), /*use_regex=*/false);
  file["pre_tokenizer"] = sequence_of("pretokenizers", {split_at(pattern, "Isolated", /*invert=*/false), bytes});
  file["decoder"] = byte_level(true);
  set_model(file, Json::object());
}

void build_qwen2(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  build_qwen(kQwen2Pattern, settings, file);
  traits.renews_special = true;
}

void build_qwen3_5(const FolderSettings& settings, Json& file, ClassTraits& /*traits*/) {
  build_qwen(kQwen3_5Pattern, settings, file);
}

void build_cohere(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  const bool has_prefix = settings.add_prefix_space.value_or(false);
  file["normalizer"] = {{"type", "NFC"}};
  file["pre_tokenizer"] = sequence_of("pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, byte_level(has_prefix)});
  file["decoder"] = byte_level(has_prefix);
  set_model(file, Json::object());
  traits.renews_special = true;
}

void build_deberta(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  build_gpt2(settings, file, traits);
  traits.around_text = around_with_two_separators(settings, "cls_token", "sep_token");
}

void build_clip(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  file["normalizer"] =
      sequence_of("normalizers", {{{"type", "NFC"}}, replace_pattern(R"(\s+)", " "), {{"type", "Lowercase"}}});
  file["pre_tokenizer"] = sequence_of("pretokenizers", {split_at(kClipPattern, "Removed", /*invert=*/true), byte_level(false)});
  // transformers replaces the suffix of every word by a space and strips the result.
  constexpr int kAny = 1'000'000;
  file["decoder"] = sequence_of("decoders", {byte_level(false),
                                             replace("</w>", " "),
                                             {{"type", "Strip"}, {"content", " "}, {"start", kAny}, {"stop", kAny}}});
  set_model(file, {{"unk_token", text_of(settings, "unk_token")}, {"end_of_word_suffix", "</w>"}});
  traits.around_text = roberta_around(settings, "bos_token", "eos_token");
}

// The class has fixed ids for its tokens.
void build_herbert(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  file["normalizer"] = {
      {"type", "BertNormalizer"}, {"clean_text", true}, {"handle_chinese_chars", true}, {"strip_accents", false}, {"lowercase", false}};
  file["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  file["decoder"] = {{"type", "BPEDecoder"}, {"suffix", "</w>"}};
  set_model(file, {{"unk_token", text_of(settings, "unk_token")}, {"end_of_word_suffix", "</w>"}});
  traits.around_text = [sep = text_of(settings, "sep_token"), cls = text_of(settings, "cls_token")](const IdOf&) -> Json {
    return {{"type", "BertProcessing"}, {"sep", Json::array({sep, 2})}, {"cls", Json::array({cls, 0})}};
  };
}

void build_llama(const FolderSettings& settings, Json& file, ClassTraits& /*traits*/) {
  const bool has_prefix = settings.add_prefix_space.value_or(true);
  file["normalizer"] = nullptr;
  file["pre_tokenizer"] = metaspace(!has_prefix ? "never" : settings.legacy.value_or(false) ? "always" : "first", /*split=*/false);
  file["decoder"] = space_decoder(has_prefix);
  set_model(file, {{"fuse_unk", true}, {"byte_fallback", true}});
}

void build_code_llama(const FolderSettings& settings, Json& file, ClassTraits& traits) {
  file["normalizer"] = nullptr;
  file["pre_tokenizer"] = metaspace(settings.add_prefix_space.value_or(true) ? "first" : "never", /*split=*/false);
  file["decoder"] = space_decoder(/*strips_first=*/true);
  set_model(file, {{"unk_token", text_of(settings, "unk_token")}, {"fuse_unk", true}, {"byte_fallback", true}});
  FolderSettings ends = settings;
  ends.add_bos_token = true;  // the class's default: transformers ignores the key of the config if there is a tokenizer.json
  ends.add_eos_token = false;
  traits.around_text = bos_and_eos_around(ends);
}

void build_gemma(const FolderSettings& settings, Json& file, ClassTraits& /*traits*/) {
  file["normalizer"] = replace(" ", std::string(kSpaceSymbol));
  file["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"String", " "}}}, {"behavior", "MergedWithPrevious"}, {"invert", false}};
  file["decoder"] = space_decoder(/*strips_first=*/false);
  set_model(file, {{"unk_token", text_of(settings, "unk_token")}, {"fuse_unk", true}, {"byte_fallback", true}});
}

}  // namespace

const std::vector<TokenizerClass>& bpe_classes() {
  static const std::vector<TokenizerClass> kClasses{
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
      {"RobertaTokenizer", "BPE", roberta_tokens(), build_roberta},
      {"CodeGenTokenizer",
       "BPE",
       {{"bos_token", "<|endoftext|>"}, {"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}},
       build_gpt2},
      {"CodeLlamaTokenizer",
       "BPE",
       {{"bos_token", "<s>"},
        {"eos_token", "</s>"},
        {"unk_token", "<unk>"},
        {"prefix_token", "▁<PRE>"},
        {"middle_token", "▁<MID>"},
        {"suffix_token", "▁<SUF>"},
        {"eot_token", "▁<EOT>"},
        {"fill_token", "<FILL_ME>"}},
       build_code_llama},
      {"CohereTokenizer",
       "BPE",
       {{"bos_token", "<BOS_TOKEN>"},
        {"eos_token", "<|END_OF_TURN_TOKEN|>"},
        {"unk_token", "<UNK>"},
        {"sep_token", "<SEP>"},
        {"pad_token", "<PAD>"},
        {"cls_token", "<CLS>"},
        {"mask_token", "<MASK_TOKEN>"}},
       build_cohere},
      {"Qwen3_5Tokenizer",
       "BPE",
       {{"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}, {"pad_token", "<|endoftext|>"}},
       build_qwen3_5},
      {"DebertaTokenizer",
       "BPE",
       {{"bos_token", "[CLS]"},
        {"eos_token", "[SEP]"},
        {"unk_token", "[UNK]"},
        {"sep_token", "[SEP]"},
        {"pad_token", "[PAD]"},
        {"cls_token", "[CLS]"},
        {"mask_token", "[MASK]"}},
       build_deberta},
      {"CLIPTokenizer",
       "BPE",
       {{"bos_token", "<|startoftext|>"}, {"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}, {"pad_token", "<|endoftext|>"}},
       build_clip},
      {"HerbertTokenizer",
       "BPE",
       {{"unk_token", "<unk>"}, {"sep_token", "</s>"}, {"pad_token", "<pad>"}, {"cls_token", "<s>"}, {"mask_token", "<mask>"}},
       build_herbert},
  };
  return kClasses;
}

}  // namespace lora::tokenizer
