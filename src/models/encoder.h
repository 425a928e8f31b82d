#pragma once
#include <optional>
#include <string>

#include "models/decoder.h"

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

/// The frame of an encoder: a decoder's without a head over the vocabulary and with its own embeddings. Whether attention is
/// bidirectional is decided in the layers.
class Encoder : public Decoder {
 public:
  Encoder(DecoderOptions body, const EncoderEmbeddings& embeddings, const MakeNorm& make_norm, const MakeLayer& make_layer,
          io::WeightSource& source, const at::TensorOptions& options);

 protected:
  Tensor embed(const nn::Pass& pass) const override;

 private:
  void require_positions(const nn::BatchLayout& layout) const;
  Tensor positions(const nn::Batch& batch) const;
  /// The rows; those of padding have no gradient.
  Tensor but_pads(const Tensor& x_TD, const nn::Batch& batch) const;

  std::optional<int64_t> pad_id_;
  bool positions_skip_pads_;
  std::unique_ptr<nn::Embedding> types_, positions_;  ///< null: none
  std::unique_ptr<nn::Norm> norm_;
};

}  // namespace lora::models
