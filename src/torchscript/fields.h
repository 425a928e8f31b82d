#pragma once
#include <ATen/core/ivalue.h>

#include <string>
#include <vector>

#include "lora/nn/batch.h"
#include "torchscript/network.h"

namespace lora::torchscript {

/// The documents of a batch as rows of one rectangle, padded after their ends, as a TorchScript model takes them. D documents, L the length
/// of the longest.
struct Rectangle {
  int64_t num_documents = 0;
  int64_t length = 0;
  at::Tensor places_T;  ///< int64, the position of each token in D · L
};

Rectangle make_rectangle(const nn::Batch& batch);

/// The kind of rows that a network takes.
enum class RowKind {
  kLearntTokens,  ///< documents whose tokens are predicted
  kDocuments,     ///< whole documents
  kFeatures,      ///< rows of features
};

/// Maps the fields of a batch to the arguments of the module.
class Fields {
 public:
  /// @param inputs the fields in model.inputs; empty: by the arguments' names. Throws config Error for an unknown field or argument, and if
  /// no field gives the network its rows.
  Fields(const Network& network, const std::vector<std::string>& inputs, RowKind rows);

  bool has(const std::string& field) const;
  /// The module's arguments for a batch. Features have the dtype of its weights.
  std::vector<c10::IValue> arguments(const nn::Batch& batch, const Rectangle& rectangle) const;
  const std::vector<std::string>& names() const { return names_; }

 private:
  RowKind rows_;
  at::ScalarType dtype_;
  std::vector<std::string> names_;      ///< fields of the first arguments, in order; "": the argument's default
  std::vector<c10::IValue> fallbacks_;  ///< default of every argument
};

/// The output that is used without model.output: the first element of a tuple, or the entry of that name.
inline constexpr const char* kLogits = "logits";
inline constexpr const char* kLoss = "loss";

/// The logits (or the loss) in the module's result: `output` is one of those names, a key, or the index of an element. Throws config Error
/// if the result has no such tensor.
at::Tensor take_output(const c10::IValue& result, const std::string& output, const std::string& where);

}  // namespace lora::torchscript
