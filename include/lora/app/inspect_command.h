#pragma once
#include <filesystem>

namespace lora::app {

/// The flags of `lora-inspect`.
struct InspectRequest {
  std::filesystem::path path;      ///< PATH
  std::filesystem::path other;     ///< --diff: another adapter to compare with; empty: none
  bool json = false;               ///< --json
  bool trust_torchscript = false;  ///< --trust-torchscript: load a TorchScript file and show its weights
};

/// Prints a description of what is at the path (an adapter, a model, a checkpoint, a run or a file of tensors), or how two adapters differ.
/// Throws model Error for anything else, naming what was found and what can be inspected, and for a damaged file.
int inspect_command(const InspectRequest& request);

}  // namespace lora::app
