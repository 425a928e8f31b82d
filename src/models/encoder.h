#pragma once
#include <optional>
#include <string>

#include "decoder.h"

namespace lora::models {

/// A table that is added to the words' rows; an empty name: there is none.
struct AddedTable {
  std::string name;
  int64_t num = 0;
};

/// What an encoder's first layer is given beside the words' rows, and the norm of the sum.
struct EncoderEmbeddings {
  AddedTable types;               ///< which of two texts a token is of
  AddedTable positions;           ///< absolute ones
  std::optional<int64_t> pad_id;  ///< the token whose row is never trained (torch's padding_idx); none: every row is
  /// Positions count from the pad's id and leave pads out, whose place it is itself and not trained either (RoBERTa); else from 0.
  bool positions_skip_pads = false;
  std::string norm;
  double eps;
  bool norm_bias = true;
};

/// The frame of an encoder: a decoder's without a head over the vocabulary, and with embeddings of its own. That its layers look both
/// ways is their attention's business.
class Encoder : public Decoder {
 public:
  Encoder(DecoderOptions body, const EncoderEmbeddings& embeddings, const MakeNorm& make_norm, const MakeLayer& make_layer,
          io::WeightSource& source, const at::TensorOptions& options);

 protected:
  Tensor embed(const nn::Pass& pass) const override;

 private:
  void check_lengths(const nn::TokenBatch& batch) const;
  Tensor positions(const nn::TokenBatch& batch) const;
  /// The rows, of which those of pads have no gradient.
  Tensor but_pads(const Tensor& x_TD, const nn::TokenBatch& batch) const;

  std::optional<int64_t> pad_id_;
  bool positions_skip_pads_;
  std::unique_ptr<nn::Embedding> types_, positions_;  ///< null: there is none
  std::unique_ptr<nn::Norm> norm_;
};

}  // namespace lora::models
