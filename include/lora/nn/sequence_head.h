#pragma once
#include <vector>

#include "lora/nn/host.h"
#include "lora/nn/pass.h"

namespace lora::nn {

/// What scores whole documents: it pools a model's hidden states, one row a document, and projects them to labels.
class SequenceHead {
 public:
  virtual ~SequenceHead() = default;

  /// Last hidden states of the pass's documents [T, D] → their scores [documents, labels].
  virtual Tensor logits(const Tensor& hidden_TD, const Pass& pass) const = 0;
  /// In transformers' order, the projection to labels last.
  virtual std::vector<Host*> hosts() = 0;
};

}  // namespace lora::nn
