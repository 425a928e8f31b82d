#pragma once
#include <string>
#include <vector>

#include "lora/nn/host.h"
#include "lora/nn/low_rank.h"
#include "lora/nn/token_rows.h"

namespace lora::nn {

/// A host with one weight matrix (a projection or an embedding). Low-rank pairs can be attached to it and, if its rows are tokens,
/// replacement rows.
class MatrixHost : public Host {
 public:
  using Host::Host;

  /// Throws config Error for a pair that this kind of host does not support.
  virtual void attach(LowRank attachment) { attachments_.push_back(std::move(attachment)); }
  const std::vector<LowRank>& attachments() const { return attachments_; }
  std::vector<LowRank>& attachments() { return attachments_; }
  /// For an embedding or a head.
  virtual void attach(TokenRows rows) { rows_.push_back(std::move(rows)); }
  const std::vector<TokenRows>& token_rows() const { return rows_; }

  void use_adapter(const std::string& adapter) override;
  void remove_adapters() override;

  bool is_trained() const override { return !trained().empty(); }
  /// Whether only the weights, or what replaces them, are in use.
  bool is_plain() const;
  /// The tensors in use that are trained.
  std::vector<Tensor> trained() const;

 private:
  std::vector<LowRank> attachments_;
  std::vector<TokenRows> rows_;
};

}  // namespace lora::nn
