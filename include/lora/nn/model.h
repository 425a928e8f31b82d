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

/// A language model as everything above nn/ sees it: hidden states and a head, not logits, so that the objective can
/// compute the loss in chunks and only where a label is supervised. In place of the head over the vocabulary there may be one
/// that scores whole documents.
class Model {
 public:
  virtual ~Model() = default;

  /// Final hidden states, after the last norm: [T, D].
  virtual Tensor hidden(const Pass& pass) const = 0;
  /// Those of the tokens `rows_S` (int64, rising) alone: [S, D].
  virtual Tensor hidden_of(const Tensor& rows_S, const Pass& pass) const { return hidden(pass).index_select(0, rows_S); }
  /// The output projection [V, D]; null where the model has none: an encoder, or one whose head scores documents.
  virtual Linear* find_head() = 0;
  /// The same, of a model that has it; anything else is an error of the program.
  Linear& head();
  /// The head that scores documents; null: there is none.
  SequenceHead* sequence_head() const { return sequence_head_.get(); }
  /// Gives the model that head in place of any other.
  void set_sequence_head(std::unique_ptr<SequenceHead> head) { sequence_head_ = std::move(head); }
  /// Whether it can only give logits (TorchScript): hidden() gives them, [T, V], and the head is known for its name alone.
  virtual bool gives_logits() const { return false; }
  /// The same model as one that is given rows whole; null: it is not. One that is has no hidden states.
  virtual const RowModel* row_model() const { return nullptr; }
  /// Whether it can go on behind what a KvCache holds of a document; if not, every pass gets whole documents.
  virtual bool uses_cache() const { return true; }
  /// Logits become cap · tanh(logits / cap), if there is a cap.
  virtual std::optional<double> logit_soft_cap() const { return std::nullopt; }
  /// [T, V] of hidden states: the head, and what the family does to its output; of a model that gives logits, its argument.
  Tensor logits(const Tensor& hidden_TD, const Pass& pass);
  /// Every module an adapter can be attached to, in transformers' order; the head's last.
  virtual std::vector<Host*> hosts() = 0;
  /// Every base weight under its name in the checkpoint; a tied one once. The tensors are the model's own.
  virtual std::vector<Parameter> base_parameters() const = 0;
  /// PEFT's target_modules for the family where the config names none (empty: PEFT has none).
  virtual std::vector<std::string> default_target_modules() const = 0;

  /// The length beyond which every key of a document is another than before (LongRoPE), so that what was cached of it up
  /// to there does not serve any more; none: there is no such length.
  virtual std::optional<int64_t> cache_limit() const { return std::nullopt; }

  virtual int64_t vocab_size() const = 0;
  /// Channels of the hidden states.
  virtual int64_t hidden_size() const = 0;
  virtual at::ScalarType dtype() const = 0;
  virtual at::Device device() const = 0;
  /// What a token takes in memory, with the adapters in use: for the memory estimate. Attention's squares and the loss are not in it.
  virtual PassMemory pass_memory(Recompute recompute) const = 0;

 private:
  std::unique_ptr<SequenceHead> sequence_head_;
};

}  // namespace lora::nn
