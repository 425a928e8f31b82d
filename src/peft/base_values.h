#pragma once
#include <set>
#include <string>
#include <vector>

#include "lora/nn/model.h"
#include "lora/peft/adapter_folder.h"

namespace lora::peft {

/// Base tensors that an adapter's file has: PEFT saves embeddings and head whole if they are targets or the vocabulary was resized before
/// training. They replace the base's own while the adapter is in use, at every module that shares the weight.
class BaseValues {
 public:
  BaseValues(nn::Model& model, std::string adapter_name) : model_(&model), adapter_name_(std::move(adapter_name)) {}

  /// Puts the tensors in place, with a warning that names those that differ from the base's. Throws model Error for a tensor that the
  /// model does not have or has in another shape.
  void put(const std::vector<AdapterTensor>& tensors, const std::string& where);

  /// The tensors that differ from the base's.
  /// @param adapted names of the modules with a low-rank pair.
  std::vector<AdapterUpdate> updates(const std::set<std::string>& adapted) const;

 private:
  struct Value {
    std::string module;
    std::string part;
    Tensor tensor;
    bool has_rows;  ///< the module also has trained token rows
  };
  bool put(const AdapterTensor& tensor, const nn::BaseWeight& base);
  nn::BaseWeight* find(const std::string& name) const;

  nn::Model* model_;
  std::string adapter_name_;
  std::vector<Value> values_;
};

}  // namespace lora::peft
