#pragma once
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "lora/diffusion/tensor_view.h"
#include "lora/io/checkpoint.h"

namespace lora::diffusion {

/// A checkpoint under other names, some of whose tensors are parts or other layouts of those in the files. Tensors without a view are not
/// in it. Its fingerprint is that of the same model in a file under the model's own names.
class ViewedCheckpoint : public io::Checkpoint {
 public:
  /// @param path for messages. Throws model Error if two views have one name.
  ViewedCheckpoint(const fs::path& path, std::shared_ptr<const io::Checkpoint> stored, std::vector<TensorView> views);

  bool contains(const std::string& name) const override { return index_.count(name) > 0; }
  std::vector<std::string> names() const override;
  io::TensorFacts facts(const std::string& name) const override;
  io::StoredWeight stored(const std::string& name) const override;
  void release(const std::string& name) const override;
  std::string fingerprint() const override;
  std::vector<fs::path> files() const override { return stored_->files(); }
  std::vector<std::string> notes() const override { return stored_->notes(); }

 private:
  const TensorView& view(const std::string& name) const;

  std::shared_ptr<const io::Checkpoint> stored_;
  std::vector<TensorView> views_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace lora::diffusion
