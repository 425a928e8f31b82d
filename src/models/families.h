#pragma once
#include <memory>
#include <string>

#include "lora/base/json.h"
#include "lora/io/weight_source.h"
#include "lora/nn/model.h"

namespace lora::models {

/// Builds a family's model from config.json of transformers 4 or 5 and a weight source. Throws model Error for a missing or
/// unsupported key.
using BuildFamily = std::unique_ptr<nn::Model>(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options);

struct HeadShape {
  int64_t hidden_size;
  int64_t num_labels;
};

/// Builds the family's head that scores documents, in the same way.
using BuildSequenceHead = std::unique_ptr<nn::DocumentScorer>(const HeadShape& shape, const JsonReader& config, io::WeightSource& source,
                                                            const at::TensorOptions& options);

BuildFamily make_apertus;
BuildFamily make_arcee;  ///< AFM
BuildFamily make_bert;
BuildFamily make_camembert;
BuildFamily make_distilbert;
BuildFamily make_exaone4;
BuildFamily make_falcon;
BuildFamily make_gemma;
BuildFamily make_gemma2;
BuildFamily make_gemma3_text;
BuildFamily make_gpt2;
BuildFamily make_gpt_neox;  ///< GPT-NeoX, Pythia
BuildFamily make_granite;   ///< Granite 3, dense
BuildFamily make_helium;
BuildFamily make_hunyuan_v1_dense;
BuildFamily make_internlm3;
BuildFamily make_llama;     ///< Llama 2, 3, 3.x, SmolLM2, TinyLlama
BuildFamily make_ministral;
BuildFamily make_ministral3;
BuildFamily make_mistral;
BuildFamily make_mixtral;
BuildFamily make_modernbert;
BuildFamily make_nemotron;  ///< Nemotron-4, Minitron
BuildFamily make_olmo2;
BuildFamily make_olmo3;
BuildFamily make_phi;    ///< Phi-1, 1.5, 2
BuildFamily make_phi3;   ///< Phi-3, Phi-3.5, Phi-4, Phi-4-mini
BuildFamily make_qwen2;  ///< Qwen 2, 2.5
BuildFamily make_qwen3;
BuildFamily make_qwen3_moe;
BuildFamily make_roberta;  ///< RoBERTa, XLM-R
BuildFamily make_seed_oss;
BuildFamily make_smollm3;
BuildFamily make_stablelm;
BuildFamily make_starcoder2;

BuildSequenceHead make_score_head;  ///< of decoders
BuildSequenceHead make_bert_head;
BuildSequenceHead make_distilbert_head;
BuildSequenceHead make_modernbert_head;
BuildSequenceHead make_roberta_head;

/// The current name of a tensor, given its name in an older file.
using ModelName = std::string(const std::string& file_name);

ModelName with_modern_norms;  ///< for BERT and its relatives: the norms' parameters under TensorFlow's names
ModelName gpt_neox_model_name;
ModelName mixtral_model_name;

}  // namespace lora::models
