#pragma once
#include <map>
#include <string>
#include <vector>

#include "lora/base/random.h"
#include "lora/io/weight_source.h"
#include "support/tensors.h"

namespace lora::test {

/// Weights from a table; those it does not hold are standard normal numbers by their name.
class MapSource : public io::WeightSource {
 public:
  explicit MapSource(std::map<std::string, Tensor> tensors = {}) : tensors_(std::move(tensors)) {}

  io::StoredWeight weight(const std::string& name, const std::vector<int64_t>& shape, io::WeightRole) override {
    const auto found = tensors_.find(name);
    return {found != tensors_.end() ? found->second : normal(shape, hash_name(name), at::kFloat)};
  }
  bool contains(const std::string&) const override { return true; }
  std::vector<std::string> unused() const override { return {}; }

 private:
  std::map<std::string, Tensor> tensors_;
};

}  // namespace lora::test
