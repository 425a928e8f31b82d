#include "models/decoder.h"

#include <ATen/ATen.h>

#include "lora/nn/head_scorer.h"

namespace lora::models {

std::unique_ptr<nn::Model> make_decoder(const DecoderOptions& decoder, const MakeNorm& make_norm, const MakeLayer& make_layer,
                                        io::WeightSource& source, const at::TensorOptions& options,
                                        std::unique_ptr<TokenEmbeddings> embeddings) {
  static const std::string kHead = "lm_head";
  if (embeddings == nullptr) {
    embeddings = std::make_unique<TokenEmbeddings>(decoder.names.embedding, decoder.vocab_size, decoder.hidden_size, source, options,
                                                   decoder.embedding_scale);
  }
  const at::Tensor table_VD = embeddings->table().weight();
  auto model = std::make_unique<nn::Model>();
  model->body = std::make_unique<Transformer>(decoder, std::move(embeddings), make_norm, make_layer);
  std::unique_ptr<nn::Linear> head;
  if (decoder.tied_head) {
    head = std::make_unique<nn::Linear>(kHead, table_VD);
  } else if (source.contains(kHead + ".weight")) {
    const nn::LinearShape shape{decoder.hidden_size, decoder.vocab_size, decoder.head_bias};
    head = std::make_unique<nn::Linear>(kHead, shape, source, options);
  }
  if (head != nullptr) {
    model->tokens = std::make_unique<nn::HeadScorer>(std::move(head), decoder.logit_soft_cap, decoder.logit_divisor);
  }
  return model;
}

}  // namespace lora::models
