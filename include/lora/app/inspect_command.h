#pragma once
#include <filesystem>

namespace lora::app {

/// The flags of `lora-inspect`.
struct InspectRequest {
  std::filesystem::path path;      ///< PATH
  std::filesystem::path other;     ///< --diff: another adapter; empty: none
  bool json = false;               ///< --json
  bool trust_torchscript = false;  ///< --trust-torchscript: a .pt file is loaded, and its weights are shown
};

/// Finds out what lies at the path (an adapter, a model, a checkpoint, a run or a file of tensors) and prints what it is,
/// or how two adapters differ. Throws model Error for anything else, naming what was found and what is known, and for a
/// damaged file.
int inspect_command(const InspectRequest& request);

}  // namespace lora::app
