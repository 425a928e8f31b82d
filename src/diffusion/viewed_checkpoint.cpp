#include "diffusion/viewed_checkpoint.h"

#include <ATen/ATen.h>

#include <map>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"

namespace lora::diffusion {

namespace {

/// Sizes of a matrix that is stored as a 1x1 convolution; the sizes themselves for anything else, whose use is then an error of shape.
std::vector<int64_t> matrix_shape(const std::vector<int64_t>& stored) {
  std::vector<int64_t> shape = stored;
  while (shape.size() > 2 && shape.back() == 1) {
    shape.pop_back();
  }
  return shape;
}

std::vector<int64_t> shape_of(const TensorView& view, const std::vector<int64_t>& stored) {
  switch (view.kind) {
    case ViewKind::kMatrix:
      return matrix_shape(stored);
    case ViewKind::kTransposed:
      return {stored.rbegin(), stored.rend()};
    case ViewKind::kRows: {
      std::vector<int64_t> shape = stored;
      shape[0] = view.num_rows;
      return shape;
    }
    case ViewKind::kWhole:
      break;
  }
  return stored;
}

at::Tensor viewed(const TensorView& view, const at::Tensor& stored) {
  switch (view.kind) {
    case ViewKind::kMatrix:
      return stored.view(matrix_shape(stored.sizes().vec()));
    case ViewKind::kTransposed:
      return stored.t().contiguous();
    case ViewKind::kRows:
      return stored.narrow(0, view.begin_row, view.num_rows);
    case ViewKind::kWhole:
      break;
  }
  return stored;
}

/// A view that its tensor's shape does not allow: a damaged file must not reach ATen's own checks.
bool fits(const TensorView& view, const std::vector<int64_t>& stored) {
  switch (view.kind) {
    case ViewKind::kTransposed:
      return stored.size() == 2;
    case ViewKind::kRows:
      return !stored.empty() && view.num_rows > 0 && view.begin_row + view.num_rows <= stored[0];
    case ViewKind::kWhole:
    case ViewKind::kMatrix:
      break;
  }
  return true;
}

}  // namespace

ViewedCheckpoint::ViewedCheckpoint(const fs::path& path, std::shared_ptr<const io::Checkpoint> stored, std::vector<TensorView> views)
    : Checkpoint(path), stored_(std::move(stored)), views_(std::move(views)) {
  for (size_t i = 0; i < views_.size(); ++i) {
    const TensorView& view = views_[i];
    const std::vector<int64_t> shape = stored_->facts(view.stored).shape;
    if (!fits(view, shape)) {
      model_error(path.string() + ": tensor '" + printable(view.stored, 120) + "'",
                  "found shape " + io::shape_text(shape) + ", expected one from which '" + printable(view.name, 120) + "' can be taken");
    }
    const auto [known, is_new] = index_.emplace(view.name, i);
    if (!is_new) {
      model_error(path.string() + ": tensor '" + printable(view.stored, 120) + "'",
                  "is '" + printable(view.name, 120) + "' of the model, but so is '" + printable(views_[known->second].stored, 120) + "'");
    }
  }
}

std::vector<std::string> ViewedCheckpoint::names() const {
  std::vector<std::string> names;
  for (const TensorView& view : views_) {
    names.push_back(view.name);
  }
  return names;
}

const TensorView& ViewedCheckpoint::view(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) {
    no_such_tensor(name);
  }
  return views_[found->second];
}

io::TensorFacts ViewedCheckpoint::facts(const std::string& name) const {
  const TensorView& of = view(name);
  io::TensorFacts facts = stored_->facts(of.stored);
  if (of.kind == ViewKind::kRows) {
    facts.bytes = facts.bytes / facts.shape[0] * of.num_rows;
  }
  facts.shape = shape_of(of, facts.shape);
  return facts;
}

io::StoredWeight ViewedCheckpoint::stored(const std::string& name) const {
  const TensorView& of = view(name);
  return {viewed(of, stored_->tensor(of.stored))};
}

void ViewedCheckpoint::release(const std::string& name) const {
  stored_->release(view(name).stored);
}

std::string ViewedCheckpoint::fingerprint() const {
  const std::map<std::string, size_t> sorted(index_.begin(), index_.end());
  Sha256 digest;
  for (const auto& [name, index] : sorted) {
    const at::Tensor tensor = viewed(views_[index], stored_->tensor(views_[index].stored));
    add_to_fingerprint(digest, name + '\n' + c10::toString(tensor.scalar_type()) + io::shape_text(tensor.sizes()) + '\n', tensor);
  }
  return digest.hexadecimal();
}

}  // namespace lora::diffusion
