#pragma once
#include <vector>

#include "lora/nn/host.h"
#include "lora/nn/pass.h"

namespace lora::nn {

class Model;

/// A head that scores whole documents: it pools a model's hidden states to one row per document and projects them to labels.
class SequenceHead {
 public:
  virtual ~SequenceHead() = default;

  /// The scores of the pass's documents for the model's hidden states: [documents, labels].
  virtual Tensor logits(const Model& model, const Pass& pass) const = 0;
  /// In transformers' order; the projection to labels is last.
  virtual std::vector<Host*> hosts() = 0;
};

}  // namespace lora::nn
