#pragma once
#include <string>
#include <vector>

#include "lora/nn/host.h"
#include "lora/nn/pass.h"
#include "lora/nn/pass_memory.h"

namespace lora::nn {

/// What every model has, whatever it computes for: modules with weights, and a forward pass whose result is something per token. Scorers
/// are built on that result.
class Body {
 public:
  virtual ~Body() = default;

  /// The result of a pass. Of a transformer these are the final hidden states, after the last norm: [T, D]. A TorchScript network gives
  /// what its scorer expects: logits of tokens [T, V], or a row for each document.
  virtual Tensor hidden(const Pass& pass) const = 0;
  /// The same for only the tokens `rows_S` (int64, ascending): [S, D].
  virtual Tensor hidden_of(const Tensor& rows_S, const Pass& pass) const;
  /// Channels of that result.
  virtual int64_t hidden_size() const = 0;

  /// Every module that target_modules can name, in transformers' order.
  virtual std::vector<Host*> hosts() = 0;
  /// The places between modules where a method can attach something.
  virtual std::vector<Host*> taps() { return {}; }
  /// Every base weight that is a tensor under its name in the checkpoint. The tensors are the body's own.
  virtual std::vector<Parameter> base_parameters() const = 0;
  /// PEFT's default target_modules for the family, used if the config names none (empty: PEFT has none).
  virtual std::vector<std::string> default_target_modules() const = 0;

  virtual int64_t vocab_size() const = 0;
  virtual at::ScalarType dtype() const = 0;
  virtual at::Device device() const = 0;
  /// The memory that a token takes, with the adapters in use, for the memory estimate. Attention's scores and the loss are not included.
  virtual PassMemory pass_memory(Recompute recompute) const = 0;

  /// The number of keys that the adapter in use puts before each document's, the same in every layer.
  virtual int64_t prefix_length() const { return 0; }
  /// The number of virtual tokens that the adapter in use puts before each document: whoever makes a pass adds them to it
  /// (Pass::with_virtual_tokens).
  virtual int64_t virtual_tokens() const { return 0; }
  /// Whether the keys that a KvCache holds of a document's first `cached` tokens serve for it when it has `length` tokens. If not, the
  /// document must be read again from its start.
  virtual bool keeps_keys(int64_t cached, int64_t length) const = 0;
  /// Whether several passes can run at the same time. They cannot if they share a generator of random numbers.
  virtual bool runs_concurrently() const { return true; }
};

}  // namespace lora::nn
