#pragma once
#include <vector>

#include "lora/io/tensors.h"

namespace lora::io {

/// Reads the tensors of a dict that torch.save wrote (an adapter_model.bin) without running any code from it: plain floating-point or
/// integer tensors, by name. They share the file's mapped pages, private and writable like SafetensorsFile's, and keep the mapping
/// alive. Throws model Error for a truncated or damaged file, for anything but tensors in it (naming the Python object), and for
/// the format of torch before 1.6, with the command that converts it.
std::vector<NamedTensor> load_torch_archive(const fs::path& file);

}  // namespace lora::io
