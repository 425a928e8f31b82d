#include "optim/state_memory.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/json.h"
#include "lora/base/scratch_file.h"
#include "lora/ops/managed_memory.h"

namespace lora::optim {

namespace {

using at::Tensor;

/// Each moment begins at a multiple of this number of bytes, as those of LibTorch's allocator do.
constexpr int64_t kStateAlignment = 64;

int64_t aligned(int64_t bytes) {
  return (bytes + kStateAlignment - 1) / kStateAlignment * kStateAlignment;
}

/// Moments in the memory of their parameters' device.
class OwnMemory : public StateMemory {
 public:
  Tensor zeros_like(const Tensor& parameter, at::ScalarType type) override {
    return at::zeros_like(parameter, parameter.options().dtype(type).requires_grad(false));
  }
};

/// Moments one after the other in a mapped file, which the tensors keep alive.
class FileMemory : public StateMemory {
 public:
  FileMemory(const std::filesystem::path& folder, int64_t bytes)
      : file_(std::make_shared<ScratchFile>(folder, "optimizer-state", static_cast<size_t>(bytes))), left_(bytes) {}

  Tensor zeros_like(const Tensor& parameter, at::ScalarType type) override {
    const at::TensorOptions options = parameter.options().dtype(type).requires_grad(false);
    const Tensor layout = at::empty_like(parameter, options.device(at::kMeta));
    const auto bytes = static_cast<int64_t>(layout.nbytes());
    TORCH_CHECK(aligned(bytes) <= left_, "the state file is too small: ", left_, " bytes are left, and ", bytes, " are needed");
    std::byte* const address = next_ == nullptr ? file_->data() : next_;
    next_ = address + aligned(bytes);
    left_ -= aligned(bytes);
    return at::from_blob(
        address, layout.sizes(), layout.strides(), [file = file_](void*) {}, options);
  }

  void release() override { file_->release(); }

 private:
  std::shared_ptr<ScratchFile> file_;
  std::byte* next_ = nullptr;
  int64_t left_;
};

/// Moments in memory that CUDA's driver moves between device and host; small ones on the device.
class PagedMemory : public StateMemory {
 public:
  Tensor zeros_like(const Tensor& parameter, at::ScalarType type) override {
    return parameter.numel() < kSmallestPaged ? own_.zeros_like(parameter, type) : ops::managed_zeros_like(parameter, type);
  }

 private:
  OwnMemory own_;
};

}  // namespace

StatePlace state_place(const OptimizerOptions& options, const std::vector<nn::Parameter>& parameters) {
  const auto elsewhere =
      std::find_if(parameters.begin(), parameters.end(), [](const nn::Parameter& parameter) { return parameter.tensor.is_cuda(); });
  if (elsewhere == parameters.end()) {
    return options.state_file.empty() ? StatePlace::kMemory : StatePlace::kFile;
  }
  if (!options.state_file.empty()) {
    config_error("training.optim_state_file", "found " + shown(Json(options.state_file.string())) + " with a model on " +
                                                  elsewhere->tensor.device().str() +
                                                  ", expected null: the file is for models on the CPU. On a GPU, the state of a paged "
                                                  "optimiser such as paged_adamw_8bit moves to host memory when it is needed.");
  }
  return facts_of(options.kind).is_paged ? StatePlace::kPaged : StatePlace::kMemory;
}

Tensor CountedState::zeros_like(const Tensor& parameter, at::ScalarType type) {
  const Tensor moment = at::empty_like(parameter, parameter.options().dtype(type).device(at::kMeta).requires_grad(false));
  const auto bytes = static_cast<int64_t>(moment.nbytes());
  moment_bytes_ += bytes;
  file_bytes_ += aligned(bytes);
  paged_bytes_ += parameter.numel() < kSmallestPaged ? 0 : bytes;
  return moment;
}

std::shared_ptr<StateMemory> make_state_memory(StatePlace place, const OptimizerOptions& options, const CountedState& counted) {
  switch (place) {
    case StatePlace::kFile:
      return std::make_shared<FileMemory>(options.state_file, counted.file_bytes());
    case StatePlace::kPaged:
      return std::make_shared<PagedMemory>();
    case StatePlace::kMemory:
      break;
  }
  return std::make_shared<OwnMemory>();
}

int64_t state_file_size(const CountedState& counted) {
  return static_cast<int64_t>(ScratchFile::file_size(static_cast<size_t>(counted.file_bytes())));
}

}  // namespace lora::optim
