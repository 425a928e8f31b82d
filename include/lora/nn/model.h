#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/nn/linear.h"
#include "lora/nn/pass_memory.h"
#include "lora/nn/sequence_head.h"

namespace lora::nn {

class RowModel;

/// A language model as everything above nn/ sees it: hidden states and a head, not logits, so that the objective can compute the
/// loss in chunks and only at supervised positions. Instead of the head over the vocabulary there may be one that scores whole
/// documents.
class Model {
 public:
  virtual ~Model() = default;

  /// Final hidden states, after the last norm: [T, D].
  virtual Tensor hidden(const Pass& pass) const = 0;
  /// The final hidden states of only the tokens `rows_S` (int64, ascending): [S, D].
  virtual Tensor hidden_of(const Tensor& rows_S, const Pass& pass) const { return hidden(pass).index_select(0, rows_S); }
  /// The output projection [V, D]; null if the model has none (an encoder, or a model whose head scores documents).
  virtual Linear* find_head() = 0;
  /// The same for a model that has one; anything else is a programming error.
  Linear& head();
  /// The head that scores documents; null: none.
  SequenceHead* sequence_head() const { return sequence_head_.get(); }
  /// Replaces the model's head by one that scores documents.
  void set_sequence_head(std::unique_ptr<SequenceHead> head) { sequence_head_ = std::move(head); }
  /// Whether the model only gives logits (TorchScript): hidden() returns them, [T, V], and the head only has a name.
  virtual bool gives_logits() const { return false; }
  /// The model as one that predicts per row; null: it does not. Such a model has no hidden states.
  virtual const RowModel* row_model() const { return nullptr; }
  /// Whether a pass can continue after what a KvCache holds of a document; if not, every pass gets whole documents.
  virtual bool uses_cache() const { return true; }
  /// Logits become cap · tanh(logits / cap), if there is a cap.
  virtual std::optional<double> logit_soft_cap() const { return std::nullopt; }
  /// The logits [T, V] for hidden states: the head and the family's own transformation; for a model that gives logits, its argument.
  Tensor logits(const Tensor& hidden_TD, const Pass& pass);
  /// Every module that an adapter can be attached to, in transformers' order; the head's modules come last.
  virtual std::vector<Host*> hosts() = 0;
  /// Every base weight under its name in the checkpoint; a tied one once. The tensors are the model's own.
  virtual std::vector<Parameter> base_parameters() const = 0;
  /// PEFT's default target_modules for the family, used if the config names none (empty: PEFT has none).
  virtual std::vector<std::string> default_target_modules() const = 0;

  /// The length beyond which all of a document's keys change (LongRoPE), so that the ones cached until then are of no use; none: there
  /// is no such length.
  virtual std::optional<int64_t> cache_limit() const { return std::nullopt; }

  virtual int64_t vocab_size() const = 0;
  /// Channels of the hidden states.
  virtual int64_t hidden_size() const = 0;
  virtual at::ScalarType dtype() const = 0;
  virtual at::Device device() const = 0;
  /// The memory that a token takes, with the adapters in use, for the memory estimate. Attention's scores and the loss are not included.
  virtual PassMemory pass_memory(Recompute recompute) const = 0;

 private:
  std::unique_ptr<SequenceHead> sequence_head_;
};

}  // namespace lora::nn
