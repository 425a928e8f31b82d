#include "tensor_file.h"

#include <ATen/ATen.h>

#include <set>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"

namespace lora::peft {

void require_finite(const std::vector<io::NamedTensor>& tensors) {
  for (const io::NamedTensor& named : tensors) {
    if (!at::isfinite(named.tensor).all().item<bool>()) {
      throw Error(ErrorKind::kDiverged, named.name,
                  "holds a value that is not finite: nothing was written. The training diverged; try a lower learning_rate");
    }
  }
}

void require_weights_file(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / "adapter_model.safetensors")) {
    model_error(folder.string(), std::string("is no adapter folder: expected adapter_model.safetensors in it") +
                                     (std::filesystem::exists(folder / "adapter_model.bin")
                                          ? ". It holds adapter_model.bin: load and save it once with PEFT to get safetensors"
                                          : ""));
  }
}

namespace {

/// With `bias` "all", PEFT writes the biases of modules_to_save twice more under the names of its own wrapper.
bool is_doubled(const std::string& name) {
  return name.ends_with(".original_module.bias") || name.ends_with(".modules_to_save.bias");
}

}  // namespace

void load_into(const std::filesystem::path& path, const std::vector<io::NamedTensor>& tensors, const std::vector<io::NamedTensor>& frozen) {
  const io::SafetensorsFile file(path);
  std::set<std::string> surplus;
  for (const std::string& name : file.names()) {
    if (!is_doubled(name)) {
      surplus.insert(name);
    }
  }
  std::vector<std::string> other_base;
  for (const io::NamedTensor& named : frozen) {
    if (surplus.erase(named.name) > 0 && !at::equal(file.tensor(named.name).to(named.tensor.options()), named.tensor)) {
      other_base.push_back(named.name);
    }
  }
  std::vector<std::string> missing, misshapen, damaged;
  for (const io::NamedTensor& named : tensors) {
    if (surplus.erase(named.name) == 0) {
      missing.push_back(named.name);
    } else if (file.shape(named.name) != named.tensor.sizes().vec()) {
      misshapen.push_back(named.name + " " + io::shape_text(file.shape(named.name)) + " instead of " +
                          io::shape_text(named.tensor.sizes()));
    } else if (!at::isfinite(file.tensor(named.name)).all().item<bool>()) {
      damaged.push_back(named.name);
    }
  }
  std::vector<std::string> faults;
  const auto report = [&faults](const std::string& what, const std::vector<std::string>& names) {
    if (!names.empty()) {
      faults.push_back(std::to_string(names.size()) + " " + what + ": " + join(names, ", ", 6));
    }
  };
  report("missing", missing);
  report("not of this model or target_modules", {surplus.begin(), surplus.end()});
  report("of another shape", misshapen);
  report("with values that are not finite", damaged);
  report("of the base, and not as this base has them", other_base);
  if (!faults.empty()) {
    model_error(path.string(), "the tensors do not fit this run: " + join(faults, "; "));
  }
  const at::NoGradGuard no_grad;
  for (const io::NamedTensor& named : tensors) {
    named.tensor.detach().copy_(file.tensor(named.name));
  }
}

}  // namespace lora::peft
