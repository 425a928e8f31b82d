#include "lora/quantization/packed_checkpoint.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>
#include <set>

#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "quantization/packed_format.h"
#include "quantization/packed_formats.h"

namespace lora::quantization {

namespace {

using InputsFirst = std::function<bool(const std::string& module)>;

class PackedCheckpoint : public io::Checkpoint {
 public:
  PackedCheckpoint(std::unique_ptr<io::Checkpoint> files, std::unique_ptr<PackedFormat> format, const InputsFirst& inputs_first)
      : Checkpoint(files->path()), files_(std::move(files)), format_(std::move(format)) {
    find_modules();
    for (auto& [name, weight] : packed_) {
      weight.is_turned = inputs_first(weight.module);
      weight.facts = format_->facts(Parts(*files_, weight.module));
    }
    find_names();
  }

  bool contains(const std::string& name) const override { return known_.count(name) > 0; }
  std::vector<std::string> names() const override { return names_; }
  io::TensorFacts facts(const std::string& name) const override;
  io::StoredWeight stored(const std::string& name) const override;
  Tensor tensor(const std::string& name) const override;
  void release(const std::string& name) const override;
  std::string fingerprint() const override { return files_->fingerprint(); }
  std::vector<fs::path> files() const override { return files_->files(); }
  std::vector<std::string> notes() const override;

 private:
  struct PackedWeight {
    std::string module;
    bool is_turned = false;  ///< plain files have [in, out]
    PackedFacts facts = {};
    std::vector<std::string> tensors = {};  ///< the names of its parts in the files
  };

  void find_modules();
  void find_names();
  /// Null for a plain tensor. Throws if there is no such tensor.
  const PackedWeight* find(const std::string& name) const;

  std::unique_ptr<io::Checkpoint> files_;
  std::unique_ptr<PackedFormat> format_;
  std::map<std::string, PackedWeight> packed_;  ///< by "module.weight"
  std::map<std::string, std::string> part_of_;  ///< from a tensor in the files to "module.weight"
  std::vector<std::string> names_;
  std::set<std::string> known_;
};

void PackedCheckpoint::find_modules() {
  const std::vector<std::string> marks = format_->marks();
  for (const std::string& name : files_->names()) {
    for (const std::string& mark : marks) {
      if (name.ends_with("." + mark)) {
        const std::string module = name.substr(0, name.size() - mark.size() - 1);
        packed_.emplace(module + ".weight", PackedWeight{module});
      }
    }
  }
  for (auto& [weight, packed] : packed_) {
    for (const std::string& part : format_->parts()) {
      const std::string tensor = packed.module + "." + part;
      if (files_->contains(tensor)) {
        packed.tensors.push_back(tensor);
        part_of_.emplace(tensor, weight);
      }
    }
  }
}

void PackedCheckpoint::find_names() {
  for (const std::string& stored : files_->names()) {
    const auto part = part_of_.find(stored);
    const std::string& name = part == part_of_.end() ? stored : part->second;
    if (known_.insert(name).second) {
      names_.push_back(name);
    } else if (part == part_of_.end()) {
      model_error(where(name), "occurs twice: plain, and packed in other tensors of the module");
    }
  }
}

const PackedCheckpoint::PackedWeight* PackedCheckpoint::find(const std::string& name) const {
  if (!contains(name)) {
    no_such_tensor(name);
  }
  const auto found = packed_.find(name);
  return found == packed_.end() ? nullptr : &found->second;
}

io::TensorFacts PackedCheckpoint::facts(const std::string& name) const {
  const PackedWeight* const weight = find(name);
  if (weight == nullptr) {
    return files_->facts(name);
  }
  const auto [rows, columns, format, dtype, stays_packed] = weight->facts;
  io::TensorFacts facts{{weight->is_turned ? columns : rows, weight->is_turned ? rows : columns}, format, dtype, 0, stays_packed};
  for (const std::string& tensor : weight->tensors) {
    facts.bytes += files_->facts(tensor).bytes;
  }
  return facts;
}

io::StoredWeight PackedCheckpoint::stored(const std::string& name) const {
  const PackedWeight* const weight = find(name);
  if (weight == nullptr) {
    return files_->stored(name);
  }
  const at::NoGradGuard no_grad;
  io::StoredWeight stored = format_->read(Parts(*files_, weight->module));
  if (stored.packed == nullptr && weight->is_turned) {
    stored.tensor = stored.tensor.t();
  }
  return stored;
}

Tensor PackedCheckpoint::tensor(const std::string& name) const {
  const PackedWeight* const weight = find(name);
  if (weight == nullptr) {
    return files_->tensor(name);
  }
  const io::StoredWeight stored = this->stored(name);
  const Tensor values = io::plain(stored);
  return stored.packed != nullptr && weight->is_turned ? values.t() : values;
}

void PackedCheckpoint::release(const std::string& name) const {
  const PackedWeight* const weight = find(name);
  if (weight == nullptr) {
    files_->release(name);
    return;
  }
  for (const std::string& tensor : weight->tensors) {
    files_->release(tensor);
  }
}

std::vector<std::string> PackedCheckpoint::notes() const {
  std::vector<std::string> notes = files_->notes();
  if (!packed_.empty()) {
    const std::vector<std::string> of_format = format_->notes(Parts(*files_, packed_.begin()->second.module));
    notes.insert(notes.end(), of_format.begin(), of_format.end());
  }
  const auto is_decoded = [](const auto& weight) { return !weight.second.facts.stays_packed; };
  if (const auto count = std::count_if(packed_.begin(), packed_.end(), is_decoded); count > 0) {
    notes.push_back(counted(count, "weight") + " cannot stay packed, because groups of values do not lie within rows");
  }
  return notes;
}

}  // namespace

std::unique_ptr<io::Checkpoint> packed_checkpoint(std::unique_ptr<io::Checkpoint> files, const JsonReader& section,
                                                  const InputsFirst& inputs_first) {
  return std::make_unique<PackedCheckpoint>(std::move(files), make_format(section), inputs_first);
}

}  // namespace lora::quantization
