#include "lora/io/checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/io/dtype_name.h"
#include "lora/io/tensor_facts.h"

namespace lora::io {

namespace {

std::vector<std::string> sorted(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return names;
}

/// A checkpoint whose packed matrices are decoded when they are asked for.
class DecodedCheckpoint : public Checkpoint {
 public:
  explicit DecodedCheckpoint(std::unique_ptr<Checkpoint> packed) : Checkpoint(packed->path()), packed_(std::move(packed)) {}

  bool contains(const std::string& name) const override { return packed_->contains(name); }
  std::vector<std::string> names() const override { return packed_->names(); }
  TensorFacts facts(const std::string& name) const override {
    TensorFacts facts = packed_->facts(name);
    facts.is_packed = false;
    return facts;
  }
  StoredWeight stored(const std::string& name) const override { return {packed_->tensor(name)}; }
  void release(const std::string& name) const override { packed_->release(name); }
  std::string fingerprint() const override { return packed_->fingerprint(); }
  std::vector<fs::path> files() const override { return packed_->files(); }
  std::vector<std::string> notes() const override { return packed_->notes(); }

 private:
  std::unique_ptr<Checkpoint> packed_;
};

}  // namespace

Tensor Checkpoint::tensor(const std::string& name) const {
  return plain(stored(name));
}

void Checkpoint::add_to_fingerprint(Sha256& digest, const std::string& facts, const Tensor& tensor) {
  constexpr size_t kSample = 4096;
  const auto* const bytes = static_cast<const char*>(tensor.const_data_ptr());
  const size_t sample = std::min(kSample, tensor.nbytes());
  digest.add(facts.data(), facts.size());
  digest.add(bytes, sample);
  digest.add(bytes + tensor.nbytes() - sample, sample);
}

StoredWeight Checkpoint::weight(const std::string& name, const std::vector<int64_t>& shape, WeightRole role) {
  const TensorFacts found = facts(name);
  if (found.shape != shape) {
    model_error(where(name), "found shape " + shape_text(found.shape) + ", expected " + shape_text(shape) +
                                 ". Likely cause: config.json does not belong to these weights.");
  }
  asked_.insert(name);
  StoredWeight weight = stored_for(name, role);
  if (weight.packed == nullptr && !is_plain_float(weight.tensor.scalar_type())) {
    model_error(where(name),
                "found dtype " + dtype_name(weight.tensor.scalar_type()) +
                    ", expected float32, float16, bfloat16 or float64. Likely cause: a quantised checkpoint. Use the unquantised one.");
  }
  return weight;
}

std::vector<std::string> Checkpoint::unused() const {
  std::vector<std::string> rest = names();
  std::erase_if(rest, [this](const std::string& name) { return asked_.count(name) > 0; });
  return sorted(std::move(rest));
}

at::ScalarType Checkpoint::stored_dtype() const {
  at::ScalarType of_packed = at::kFloat;
  bool has_packed = false;
  for (const std::string& name : sorted(names())) {
    const TensorFacts found = facts(name);
    if (!found.is_packed && is_plain_float(found.dtype)) {
      return found.dtype;
    }
    if (found.is_packed && !has_packed) {
      of_packed = found.dtype;
      has_packed = true;
    }
  }
  return of_packed;
}

std::string Checkpoint::where(const std::string& name) const {
  return path_.string() + ": tensor '" + printable(name, 120) + "'";
}

void Checkpoint::no_such_tensor(const std::string& name) const {
  model_error(where(name),
              "is missing" + did_you_mean(name, sorted(names())) + ". Likely cause: config.json does not belong to these weights.");
}

std::unique_ptr<Checkpoint> decoded_checkpoint(std::unique_ptr<Checkpoint> checkpoint) {
  return std::make_unique<DecodedCheckpoint>(std::move(checkpoint));
}

}  // namespace lora::io
