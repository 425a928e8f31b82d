#pragma once
#include <memory>
#include <optional>

#include "lora/nn/model.h"
#include "models/transformer.h"

namespace lora::models {

struct DecoderOptions : TransformerOptions {
  double embedding_scale = 1.0;  ///< rounded to the dtype before it multiplies the rows
  bool tied_head = false;
  bool head_bias = false;  ///< of a head that is not tied
  std::optional<double> logit_soft_cap = {};
  double logit_divisor = 1.0;
};

/// A transformer with the head `lm_head` over the vocabulary, tied or not. If the source has no weight for the head, there is none (a
/// folder of a sequence classifier).
/// @param embeddings null: the tokens' rows, scaled.
std::unique_ptr<nn::Model> make_decoder(const DecoderOptions& decoder, const MakeNorm& make_norm, const MakeLayer& make_layer,
                                        io::WeightSource& source, const at::TensorOptions& options,
                                        std::unique_ptr<TokenEmbeddings> embeddings = nullptr);

}  // namespace lora::models
