#include "peft/tensor_file.h"

#include <ATen/ATen.h>

#include <set>

#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"
#include "lora/io/torch_archive.h"
#include "lora/peft/file_names.h"
#include "peft/keys.h"
#include "peft/report.h"

namespace lora::peft {

std::vector<io::NamedTensor> file_tensors(const std::vector<AdapterUpdate>& updates) {
  std::vector<io::NamedTensor> result;
  for (const AdapterTensor& tensor : tensors_of(updates)) {
    result.push_back({file_key(tensor.wrapped_name()), tensor.tensor.detach()});
  }
  return result;
}

std::vector<io::NamedTensor> named_tensors(const std::vector<AdapterTensor>& tensors) {
  std::vector<io::NamedTensor> result;
  for (const AdapterTensor& tensor : tensors) {
    result.push_back({tensor.name, tensor.tensor});
  }
  return result;
}

void require_finite(const std::vector<io::NamedTensor>& tensors) {
  for (const io::NamedTensor& named : tensors) {
    if (!at::isfinite(named.tensor).all().item<bool>()) {
      throw Error(ErrorKind::kDiverged, named.name,
                  "has a value that is not finite, so nothing was written. The training diverged. Try a lower learning_rate.");
    }
  }
}

bool is_torch_archive(const std::filesystem::path& file) {
  return file.extension() == std::filesystem::path(kAdapterPickleFile).extension();
}

std::vector<io::NamedTensor> read_tensors(const std::filesystem::path& file, std::map<std::string, std::string>& metadata) {
  if (is_torch_archive(file)) {
    return io::load_torch_archive(file);
  }
  const io::SafetensorsFile stored(file);
  metadata = stored.metadata();
  std::vector<io::NamedTensor> tensors;
  for (const std::string& name : stored.names()) {
    tensors.push_back({name, stored.tensor(name)});
  }
  return tensors;
}

bool same_values(const io::Tensor& a, const io::Tensor& b) {
  const at::ScalarType wide = at::promote_types(a.scalar_type(), b.scalar_type());
  return a.sizes() == b.sizes() && at::equal(a.to(wide), b.to(wide));
}

void load_into(const std::string& where, const StoredTensors& stored, const std::vector<io::NamedTensor>& tensors) {
  std::set<std::string> surplus;
  for (const auto& [name, tensor] : stored) {
    surplus.insert(name);
  }
  std::vector<std::string> missing, misshapen, damaged;
  for (const io::NamedTensor& named : tensors) {
    const auto found = stored.find(named.name);
    surplus.erase(named.name);
    if (found == stored.end()) {
      missing.push_back(named.name);
    } else if (found->second.sizes() != named.tensor.sizes()) {
      misshapen.push_back(named.name + " " + io::shape_text(found->second.sizes()) + " instead of " + io::shape_text(named.tensor.sizes()));
    } else if (!at::isfinite(found->second).all().item<bool>()) {
      damaged.push_back(named.name);
    }
  }
  std::vector<std::string> faults;
  const auto report = [&faults](const std::string& what, const std::vector<std::string>& names) {
    if (!names.empty()) {
      faults.push_back(counted(static_cast<int64_t>(names.size()), "tensor") + " " + what + ": " + join(names, ", ", kNamesShown));
    }
  };
  report("missing", missing);
  report("outside of this model and its target_modules", {surplus.begin(), surplus.end()});
  report("of another shape", misshapen);
  report("with values that are not finite", damaged);
  if (!faults.empty()) {
    model_error(where, "the tensors do not match this run: found " + join(faults, "; "));
  }
  const at::NoGradGuard no_grad;
  for (const io::NamedTensor& named : tensors) {
    named.tensor.detach().copy_(stored.at(named.name));
  }
}

}  // namespace lora::peft
