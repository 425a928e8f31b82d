#include "tensor_file.h"

#include <ATen/ATen.h>

#include <set>
#include <sstream>

#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::peft {

void require_finite(const std::vector<io::NamedTensor>& tensors) {
  for (const io::NamedTensor& named : tensors) {
    if (!at::isfinite(named.tensor).all().item<bool>()) {
      throw Error(ErrorKind::kDiverged, named.name,
                  "holds a value that is not finite: nothing was written. The training diverged; try a lower learning_rate");
    }
  }
}

void load_into(const std::filesystem::path& path, const std::vector<io::NamedTensor>& tensors) {
  const io::SafetensorsFile file(path);
  std::set<std::string> surplus;
  for (const std::string& name : file.names()) {
    surplus.insert(name);
  }
  std::vector<std::string> missing, misshapen, damaged;
  for (const io::NamedTensor& named : tensors) {
    if (surplus.erase(named.name) == 0) {
      missing.push_back(named.name);
    } else if (file.shape(named.name) != named.tensor.sizes().vec()) {
      std::ostringstream shapes;
      shapes << named.name << " " << at::IntArrayRef(file.shape(named.name)) << " instead of " << named.tensor.sizes();
      misshapen.push_back(shapes.str());
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
  if (!faults.empty()) {
    model_error(path.string(), "the tensors do not fit this run: " + join(faults, "; "));
  }
  const at::NoGradGuard no_grad;
  for (const io::NamedTensor& named : tensors) {
    named.tensor.detach().copy_(file.tensor(named.name));
  }
}

}  // namespace lora::peft
