#include "models/registry.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>

#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/models/base_model.h"
#include "lora/models/open_checkpoint.h"
#include "lora/models/stored_labels.h"
#include "models/unknown_family.h"

namespace lora::models {

namespace {

/// Of RoBERTa and its relatives.
constexpr FamilyFiles kRobertaFiles{.model_name = with_modern_norms,
                                    .embedding = "roberta.embeddings.word_embeddings",
                                    .body = "embeddings encoder pooler",
                                    .is_published_bare = true,
                                    .classifier = "classifier.out_proj",
                                    .is_encoder = true};

/// Every family.
constexpr std::array<Family, 36> kFamilies{{
    {.model_type = "apertus", .build = make_apertus},
    {.model_type = "arcee", .build = make_arcee},
    {.model_type = "bert",
     .build = make_bert,
     .files = {.model_name = with_modern_norms,
               .embedding = "bert.embeddings.word_embeddings",
               .body = "embeddings encoder pooler",
               .is_published_bare = true,
               .classifier = "classifier",
               .is_encoder = true},
     .build_head = make_bert_head,
     .other_heads = "cls.predictions. cls.seq_relationship.",
     .old_buffers = "embeddings.position_ids",
     .idle_keys = "directionality "  // never read, and so the pooler_ keys of multilingual BERT
                  "pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type"},
    {.model_type = "camembert",
     .build = make_camembert,
     .files = kRobertaFiles,
     .build_head = make_roberta_head,
     .other_heads = "lm_head. roberta.pooler.",
     .old_buffers = "embeddings.position_ids"},
    {.model_type = "distilbert",
     .build = make_distilbert,
     .files = {.model_name = with_modern_norms,
               .embedding = "distilbert.embeddings.word_embeddings",
               .body = "embeddings transformer",
               .is_published_bare = true,
               .classifier = "classifier",
               .is_encoder = true},
     .build_head = make_distilbert_head,
     .other_heads = "vocab_transform. vocab_layer_norm. vocab_projector.",
     .old_buffers = "embeddings.position_ids",
     .idle_keys = "qa_dropout "            // question answering's head
                  "sinusoidal_pos_embds "  // initial positions; the file contains them
                  "tie_weights_"},
    {.model_type = "exaone4", .build = make_exaone4},
    {.model_type = "falcon",
     .build = make_falcon,
     .files = {.embedding = "transformer.word_embeddings", .body = "word_embeddings h ln_f", .ties_by_default = true},
     .idle_keys = "apply_residual_connection_post_layernorm "  // not in transformers 5
                  "classifier_dropout"},                       // token classification's head
    {.model_type = "gemma",
     .build = make_gemma,
     .files = {.ties_by_default = true},
     .idle_keys = "hidden_activation"},  // hidden_act applies
    {.model_type = "gemma2",
     .build = make_gemma2,
     .files = {.ties_by_default = true},
     .idle_keys = "hidden_act"},  // hidden_activation applies
    {.model_type = "gemma3_text",
     .build = make_gemma3_text,
     .files = {.ties_by_default = true},
     .idle_keys = "attn_logit_softcapping hidden_act "  // transformers does not cap scores here
                  "_sliding_window_pattern"},           // saved along with the layer_types that follow from it
    {.model_type = "gpt2",
     .build = make_gpt2,
     .files = {.embedding = "transformer.wte",
               .body = "wte wpe h ln_f",
               .is_published_bare = true,
               .inputs_first = true,
               .ties_by_default = true},
     .old_buffers = ".attn.bias .attn.masked_bias",
     .idle_keys = "n_ctx hidden_dropout "     // n_positions and resid_pdrop apply
                  "reorder_and_upcast_attn "  // a variant of eager attention with the same result in float32
                  "classifier_dropout "       // token classification's head; the others are the double-heads model's
                  "summary_activation summary_first_dropout summary_last_dropout summary_proj_to_labels summary_type summary_use_proj"},
    {.model_type = "gpt_neox",
     .build = make_gpt_neox,
     .files = {.model_name = gpt_neox_model_name, .embedding = "gpt_neox.embed_in", .body = "embed_in layers final_layer_norm"},
     .old_buffers = "rotary_emb.inv_freq .attention.bias .attention.masked_bias",
     .idle_keys = "classifier_dropout is_decoder "  // token classification's head
                  "rope_theta"},                    // saved along with rotary_emb_base, which applies
    {.model_type = "granite", .build = make_granite},
    {.model_type = "helium", .build = make_helium},
    {.model_type = "hunyuan_v1_dense", .build = make_hunyuan_v1_dense, .idle_keys = "eod_token_id pretraining_tp"},
    {.model_type = "internlm3", .build = make_internlm3},
    {.model_type = "llama", .build = make_llama, .idle_keys = "pretraining_tp is_llama_config rope_interleaved"},
    {.model_type = "ministral", .build = make_ministral},
    {.model_type = "ministral3", .build = make_ministral3},
    {.model_type = "mistral", .build = make_mistral},
    {.model_type = "mixtral",
     .build = make_mixtral,
     .files = {.model_name = mixtral_model_name},
     .idle_keys = "router_aux_loss_coef"},  // applies only with output_router_logits, which is refused
    {.model_type = "modernbert",
     .build = make_modernbert,
     .files = {.embedding = "model.embeddings.tok_embeddings",
               .body = "embeddings layers final_norm",
               .is_published_bare = true,
               .classifier = "classifier",
               .is_encoder = true},
     .build_head = make_modernbert_head,
     .other_heads = "decoder.weight decoder.bias",
     .idle_keys = "decoder_bias sparse_pred_ignore_index sparse_prediction "  // the masked language model's head
                  "layer_norm_eps "                                           // norm_eps applies
                  "deterministic_flash_attn initializer_cutoff_factor reference_compile repad_logits_with_grad"},
    {.model_type = "nemotron", .build = make_nemotron},
    {.model_type = "olmo2", .build = make_olmo2},
    {.model_type = "olmo3", .build = make_olmo3},
    {.model_type = "phi", .build = make_phi},
    {.model_type = "phi3",
     .build = make_phi3,
     .idle_keys = "embd_pdrop full_attn_mod interpolate_factor"},  // transformers has no dropout of embeddings here
    {.model_type = "qwen2", .build = make_qwen2},
    {.model_type = "qwen3", .build = make_qwen3},
    {.model_type = "qwen3_moe",
     .build = make_qwen3_moe,
     .idle_keys = "max_window_layers router_aux_loss_coef"},  // every layer has the window
    {.model_type = "roberta",
     .build = make_roberta,
     .files = kRobertaFiles,
     .build_head = make_roberta_head,
     .other_heads = "lm_head. roberta.pooler.",
     .old_buffers = "embeddings.position_ids"},
    {.model_type = "seed_oss", .build = make_seed_oss, .idle_keys = "pretraining_tp"},
    {.model_type = "smollm3",
     .build = make_smollm3,
     .files = {.ties_by_default = true},
     .idle_keys = "max_window_layers pretraining_tp"},
    {.model_type = "stablelm", .build = make_stablelm},
    {.model_type = "starcoder2", .build = make_starcoder2, .files = {.ties_by_default = true}},
    {.model_type = "xlm-roberta",
     .build = make_roberta,
     .files = kRobertaFiles,
     .build_head = make_roberta_head,
     .other_heads = "lm_head. roberta.pooler.",
     .old_buffers = "embeddings.position_ids"},
}};

/// The words of a list. An empty list has none: an empty word would be part of every name.
std::vector<std::string> words_of(const char* list) {
  std::vector<std::string> words = split(list, ' ');
  std::erase(words, "");
  return words;
}

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
  const std::vector<std::string> heads = words_of(other_heads), buffers = words_of(old_buffers);
  return std::any_of(heads.begin(), heads.end(), [&name](const std::string& begin) { return name.starts_with(begin); }) ||
         std::any_of(buffers.begin(), buffers.end(), [&name](const std::string& end) { return name.ends_with(end); });
}

const Family& find_family(const std::string& model_type, const std::string& where) {
  if (const Family* family = find(model_type)) {
    return *family;
  }
  const std::vector<std::string> known = known_families();
  model_error(where,
              "unknown model_type: found '" + model_type + "', expected one of " + join(known) + unknown_family_advice(model_type, known));
}

io::RenamedSource renamed_source(io::Checkpoint& checkpoint, const CheckpointLayout& layout) {
  return {checkpoint, [&layout](const std::string& file_name) { return layout.name_of(file_name); }};
}

std::optional<int64_t> stored_labels(const io::Checkpoint& checkpoint, const CheckpointLayout& layout) {
  const auto found = layout.file_names.find(std::string(layout.files.classifier) + ".weight");
  if (!layout.is_known || found == layout.file_names.end()) {
    return std::nullopt;
  }
  const std::vector<int64_t> shape_CD = checkpoint.facts(found->second).shape;
  return shape_CD.size() == 2 ? std::optional(shape_CD.front()) : std::nullopt;
}

std::optional<int64_t> read_stored_labels(const std::filesystem::path& folder) {
  const ModelConfig config = read_model_config(folder);
  const std::unique_ptr<io::Checkpoint> checkpoint = open_checkpoint(folder, config);
  return stored_labels(*checkpoint, read_layout(*checkpoint, config.reader()));
}

std::optional<FamilyFiles> find_family_files(const std::string& model_type) {
  const Family* family = find(model_type);
  return family == nullptr ? std::nullopt : std::optional(family->files);
}

}  // namespace lora::models
