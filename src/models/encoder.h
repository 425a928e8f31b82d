#pragma once
#include <memory>
#include <optional>
#include <string>

#include "lora/nn/model.h"
#include "models/transformer.h"

namespace lora::models {

/// A table of rows that are added to the words' rows; an empty name: none.
struct AddedTable {
  std::string name;
  int64_t num = 0;
};

/// The first layer's input in addition to the words' rows, and the norm of the sum.
struct EncoderEmbeddings {
  AddedTable types;               ///< by which of two texts a token is in
  AddedTable positions;           ///< absolute positions
  std::optional<int64_t> pad_id;  ///< the token whose row is never trained (torch's padding_idx); none: all are trained
  /// Whether positions start after the pad token's id and leave padding out, whose position is that id and not trained (RoBERTa).
  bool positions_skip_pads = false;
  std::string norm;
  double eps;
  bool norm_bias = true;
};

/// A transformer with an encoder's embeddings and without a head over the vocabulary. Whether attention is bidirectional is decided in the
/// layers.
std::unique_ptr<nn::Model> make_encoder(const TransformerOptions& body, const EncoderEmbeddings& embeddings, const MakeNorm& make_norm,
                                        const MakeLayer& make_layer, io::WeightSource& source, const at::TensorOptions& options);

}  // namespace lora::models
