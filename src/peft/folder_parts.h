#pragma once
#include "lora/peft/adapter.h"
#include "lora/peft/adapter_folder.h"
#include "peft/tensor_file.h"

namespace lora::peft {

/// The folder's tensors by name.
inline StoredTensors stored_tensors(const AdapterFolder& folder) {
  StoredTensors stored;
  for (const auto& [name, tensor] : folder.tensors()) {
    stored.emplace(name, tensor.tensor);
  }
  return stored;
}

/// The adapter of the folder without options and updates, which are the method's.
inline Adapter without_updates(const AdapterFolder& folder) {
  Adapter adapter;
  adapter.config = folder.config();
  adapter.weights_file = folder.weights_file();
  adapter.base_fingerprint = base_fingerprint(folder.metadata());
  adapter.base_quantization = stored_base_quantization(folder.metadata());
  adapter.labels = stored_label_set(folder.metadata());
  return adapter;
}

}  // namespace lora::peft
