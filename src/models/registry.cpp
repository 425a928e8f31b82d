#include "models/registry.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>

#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/models/base_model.h"
#include "lora/models/stored_labels.h"
#include "models/unknown_family.h"

namespace lora::models {

namespace {

/// Every family.
constexpr std::array<Family, 20> kFamilies{{
    {"bert",
     make_bert,
     {.model_name = with_modern_norms,
      .embedding = "bert.embeddings.word_embeddings",
      .body = "embeddings encoder pooler",
      .is_published_bare = true,
      .classifier = "classifier",
      .is_encoder = true},
     make_bert_head,
     {.heads = "cls.predictions. cls.seq_relationship.", .buffers = "embeddings.position_ids"}},
    {"distilbert",
     make_distilbert,
     {.model_name = with_modern_norms,
      .embedding = "distilbert.embeddings.word_embeddings",
      .body = "embeddings transformer",
      .is_published_bare = true,
      .classifier = "classifier",
      .is_encoder = true},
     make_distilbert_head,
     {.heads = "vocab_transform. vocab_layer_norm. vocab_projector.", .buffers = "embeddings.position_ids"}},
    {"falcon", make_falcon, {.embedding = "transformer.word_embeddings", .body = "word_embeddings h ln_f", .ties_by_default = true}},
    {"gemma", make_gemma, {.ties_by_default = true}},
    {"gemma2", make_gemma2, {.ties_by_default = true}},
    {"gemma3_text", make_gemma3_text, {.ties_by_default = true}},
    {"gpt2",
     make_gpt2,
     {.embedding = "transformer.wte", .body = "wte wpe h ln_f", .is_published_bare = true, .inputs_first = true, .ties_by_default = true},
     make_score_head,
     {.buffers = ".attn.bias .attn.masked_bias"}},
    {"gpt_neox",
     make_gpt_neox,
     {.model_name = gpt_neox_model_name, .embedding = "gpt_neox.embed_in", .body = "embed_in layers final_layer_norm"},
     make_score_head,
     {.buffers = "rotary_emb.inv_freq .attention.bias .attention.masked_bias"}},
    {"llama", make_llama},
    {"mistral", make_mistral},
    {"mixtral", make_mixtral, {.model_name = mixtral_model_name}},
    {"modernbert",
     make_modernbert,
     {.embedding = "model.embeddings.tok_embeddings",
      .body = "embeddings layers final_norm",
      .is_published_bare = true,
      .classifier = "classifier",
      .is_encoder = true},
     make_modernbert_head,
     {.heads = "decoder.weight decoder.bias"}},
    {"olmo2", make_olmo2},
    {"phi3", make_phi3},
    {"qwen2", make_qwen2},
    {"qwen3", make_qwen3},
    {"qwen3_moe", make_qwen3_moe},
    {"roberta",
     make_roberta,
     {.model_name = with_modern_norms,
      .embedding = "roberta.embeddings.word_embeddings",
      .body = "embeddings encoder pooler",
      .is_published_bare = true,
      .classifier = "classifier.out_proj",
      .is_encoder = true},
     make_roberta_head,
     {.heads = "lm_head. roberta.pooler.", .buffers = "embeddings.position_ids"}},
    {"smollm3", make_smollm3, {.ties_by_default = true}},
    {"stablelm", make_stablelm},
}};

const Family* find(const std::string& model_type) {
  const auto found =
      std::find_if(kFamilies.begin(), kFamilies.end(), [&](const Family& family) { return family.model_type == model_type; });
  return found == kFamilies.end() ? nullptr : &*found;
}

}  // namespace

std::vector<std::string> known_families() {
  std::vector<std::string> names;
  for (const auto& family : kFamilies) {
    names.emplace_back(family.model_type);
  }
  return names;
}

bool Family::may_ignore(const std::string& name) const {
  const std::vector<std::string> beginnings = split(unneeded.heads, ' '), endings = split(unneeded.buffers, ' ');
  return std::any_of(beginnings.begin(), beginnings.end(), [&name](const std::string& part) { return name.starts_with(part); }) ||
         std::any_of(endings.begin(), endings.end(), [&name](const std::string& part) { return name.ends_with(part); });
}

const Family& find_family(const std::string& model_type, const std::string& where) {
  if (const Family* family = find(model_type)) {
    return *family;
  }
  const std::vector<std::string> known = known_families();
  model_error(where,
              "unknown model_type: found '" + model_type + "', expected one of " + join(known) + unknown_family_advice(model_type, known));
}

io::RenamedSource renamed_source(io::CheckpointSource& checkpoint, const CheckpointLayout& layout) {
  return {checkpoint, [&layout](const std::string& file_name) { return layout.name_of(file_name); }};
}

std::optional<int64_t> stored_labels(const io::CheckpointSource& checkpoint, const CheckpointLayout& layout) {
  const auto found = layout.file_names.find(std::string(layout.files.classifier) + ".weight");
  if (!layout.is_known || found == layout.file_names.end()) {
    return std::nullopt;
  }
  const at::Tensor weight_CD = checkpoint.tensor(found->second);
  return weight_CD.dim() == 2 ? std::optional(weight_CD.size(0)) : std::nullopt;
}

std::optional<int64_t> read_stored_labels(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "config.json";
  const Json json = read_json(file, ErrorKind::kModel);
  const io::CheckpointSource checkpoint(folder);
  return stored_labels(checkpoint, read_layout(checkpoint, JsonReader(json, file.string(), ErrorKind::kModel)));
}

std::optional<FamilyFiles> find_family_files(const std::string& model_type) {
  const Family* family = find(model_type);
  return family == nullptr ? std::nullopt : std::optional(family->files);
}

}  // namespace lora::models
