#pragma once
#include <string>
#include <vector>

#include "lora/nn/embedding.h"
#include "lora/nn/pass.h"
#include "lora/nn/tap.h"

namespace lora::models {

using at::Tensor;

/// What makes a transformer's first input from a batch: the rows of its tokens. Families with absolute positions or other tables derive
/// from it.
class TokenEmbeddings {
 public:
  /// @param scale rounded to the dtype before it multiplies the rows, except those of virtual tokens.
  TokenEmbeddings(const std::string& name, int64_t vocab_size, int64_t hidden_size, io::WeightSource& source,
                  const at::TensorOptions& options, double scale = 1.0)
      : table_(name, vocab_size, hidden_size, source, options), virtual_tokens_(name + ".virtual_tokens", hidden_size, scale) {}
  virtual ~TokenEmbeddings() = default;

  /// [T, D].
  virtual Tensor forward(const nn::Pass& pass) const;
  /// In transformers' order; the tokens' table is first.
  virtual std::vector<nn::Host*> hosts() { return {&table_}; }
  /// The tokens' table, whose weight a tied head shares.
  const nn::Embedding& table() const { return table_; }
  /// Where a method gives the embeddings of virtual tokens.
  nn::EmbeddingTap& virtual_tokens() { return virtual_tokens_; }
  const nn::EmbeddingTap& virtual_tokens() const { return virtual_tokens_; }

 private:
  nn::Embedding table_;
  nn::EmbeddingTap virtual_tokens_;
};

}  // namespace lora::models
