#include "lora/nn/base_weight.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lora::nn {

BaseWeight::BaseWeight(std::string name, std::shared_ptr<const ops::LinearWeight> matrix, bool owned)
    : parameter_{std::move(name), matrix->tensor(), /*weight_decay=*/true}, owned_(owned), matrix_(std::move(matrix)) {}

Tensor BaseWeight::base() const {
  return parameter_.tensor.defined() ? parameter_.tensor : matrix_->dequantised();
}

Tensor BaseWeight::base_rows(const std::vector<int64_t>& rows) const {
  if (parameter_.tensor.defined()) {
    return parameter_.tensor.index_select(0, at::tensor(rows, at::kLong).to(device()));
  }
  std::vector<Tensor> parts;
  for (const int64_t row : rows) {
    parts.push_back(matrix_->rows(row, row + 1));
  }
  return at::cat(parts);
}

std::vector<int64_t> BaseWeight::shape() const {
  return parameter_.tensor.defined() ? parameter_.tensor.sizes().vec()
                                     : std::vector<int64_t>{matrix_->out_features(), matrix_->in_features()};
}

bool BaseWeight::shares_values_with(const BaseWeight& other) const {
  const Tensor& own = parameter_.tensor;
  return own.defined() ? other.parameter_.tensor.defined() && own.const_data_ptr() == other.parameter_.tensor.const_data_ptr()
                       : matrix_ == other.matrix_;
}

int64_t BaseWeight::bytes() const {
  return matrix_ == nullptr ? static_cast<int64_t>(parameter_.tensor.nbytes()) : matrix_->bytes();
}

const BaseWeight::StandIn* BaseWeight::stand_in() const {
  const auto found = std::find_if(stand_ins_.begin(), stand_ins_.end(), [](const StandIn& stand_in) { return stand_in.enabled; });
  return found == stand_ins_.end() ? nullptr : &*found;
}

const Tensor& BaseWeight::in_use() const {
  const StandIn* const found = stand_in();
  return found == nullptr ? parameter_.tensor : found->tensor;
}

Tensor BaseWeight::current() const {
  const StandIn* const found = stand_in();
  if (found == nullptr) {
    return base();
  }
  return found->tensor.defined() ? found->tensor.to(dtype()) : found->matrix->dequantised();
}

std::shared_ptr<const ops::LinearWeight> BaseWeight::matrix_in_use() const {
  const StandIn* const found = stand_in();
  if (found == nullptr) {
    return matrix_;
  }
  return found->matrix != nullptr ? found->matrix : std::make_shared<const ops::DenseWeight>(current(), matrix_->layout());
}

void BaseWeight::replace(const std::string& adapter, Tensor tensor) {
  const bool is_matrix = matrix_ != nullptr && tensor.scalar_type() == dtype();
  auto matrix = is_matrix ? std::make_shared<const ops::DenseWeight>(tensor, matrix_->layout()) : nullptr;
  stand_ins_.push_back({adapter, std::move(tensor), std::move(matrix), true});
}

void BaseWeight::replace(const std::string& adapter, std::shared_ptr<const ops::LinearWeight> matrix) {
  Tensor tensor = matrix->tensor();
  stand_ins_.push_back({adapter, std::move(tensor), std::move(matrix), true});
}

std::string BaseWeight::adapter_in_use() const {
  const StandIn* const found = stand_in();
  return found == nullptr ? "" : found->adapter;
}

void BaseWeight::use_adapter(const std::string& adapter) {
  for (StandIn& stand_in : stand_ins_) {
    stand_in.enabled = !adapter.empty() && stand_in.adapter == adapter;
  }
}

}  // namespace lora::nn
