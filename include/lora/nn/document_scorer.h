#pragma once
#include <vector>

#include "lora/nn/body.h"

namespace lora::nn {

/// What scores whole documents, on top of a body: mostly a head that pools its hidden states to one row per document and projects them to
/// labels.
class DocumentScorer {
 public:
  virtual ~DocumentScorer() = default;

  /// The scores of the pass's documents: [documents, labels].
  virtual Tensor scores(const Body& body, const Pass& pass) const = 0;
  /// Modules that adapters can be attached to, in transformers' order; the projection to labels is last.
  virtual std::vector<Host*> hosts() = 0;
};

}  // namespace lora::nn
