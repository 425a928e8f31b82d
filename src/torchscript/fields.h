#pragma once
#include <ATen/core/ivalue.h>

#include <string>
#include <vector>

#include "lora/nn/token_batch.h"
#include "network.h"

namespace lora::torchscript {

/// The documents of a batch as rows of one rectangle, padded behind their ends: what a TorchScript model takes. D documents,
/// L the longest one's length.
struct Rectangle {
  int64_t num_documents = 0;
  int64_t length = 0;
  at::Tensor places_T;  ///< int64, where each token stands among D · L
};

Rectangle make_rectangle(const nn::TokenBatch& batch);

/// What a network is given as its rows.
enum class RowKind {
  kLearntTokens,  ///< documents whose tokens are predicted
  kDocuments,     ///< documents that it takes whole
  kFeatures,      ///< features
};

/// Which field of a batch each argument of the module is.
class Fields {
 public:
  /// @param inputs as model.inputs has them; empty: by the arguments' names. Throws config Error for a field or an argument that
  /// is not known, and where nothing gives the network its rows.
  Fields(const Network& network, const std::vector<std::string>& inputs, RowKind rows);

  bool has(const std::string& field) const;
  /// The module's arguments for a batch. Features are given in the dtype of its weights.
  std::vector<c10::IValue> arguments(const nn::TokenBatch& batch, const Rectangle& rectangle) const;
  const std::vector<std::string>& names() const { return names_; }

 private:
  RowKind rows_;
  at::ScalarType dtype_;
  std::vector<std::string> names_;      ///< of the first arguments, in order; "": its default
  std::vector<c10::IValue> fallbacks_;  ///< of every argument
};

/// What counts where model.output names nothing: the first element of a tuple, or the entry of that name.
inline constexpr const char* kLogits = "logits";
inline constexpr const char* kLoss = "loss";

/// What of the module's result is the logits (or the loss): `output` is one of those names, a key, or the index of an element.
/// Throws model Error where the result has no such tensor.
at::Tensor take_output(const c10::IValue& result, const std::string& output, const std::string& where);

}  // namespace lora::torchscript
