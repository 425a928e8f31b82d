#include "lora/peft/update.h"

#include <ATen/ATen.h>
#include <c10/util/accumulate.h>

#include <cmath>

#include "lora/base/error.h"
#include "lora/io/tensor_facts.h"
#include "peft/keys.h"

namespace lora::peft {

namespace {

/// `tensor` with an axis of size 1 at the end for each axis of the kernel.
Tensor with_kernel_axes(Tensor tensor, const std::vector<int64_t>& kernel) {
  for (size_t i = 0; i < kernel.size(); ++i) {
    tensor = tensor.unsqueeze(-1);
  }
  return tensor;
}

/// A magnitude as a file has it: PEFT's convolutions have [1, O, 1…].
Tensor file_magnitude(const LowRankUpdate& update) {
  return update.kernel.empty() ? *update.magnitude_O : with_kernel_axes(update.magnitude_O->unsqueeze(0), update.kernel);
}

std::vector<AdapterTensor> own_tensors(const LowRankUpdate& update) {
  std::vector<AdapterTensor> tensors;
  const auto add = [&](ParameterRole role, const Tensor& tensor) {
    tensors.push_back({tensor_name(update.module, role), update.module, role, /*of_base=*/false, tensor});
  };
  const FilePair pair = file_pair(update);
  add(facts_of(update.kind).A, pair.A);
  add(facts_of(update.kind).B, pair.B);
  if (update.bias_O) {
    add(ParameterRole::kLowRankBias, *update.bias_O);
  }
  if (update.magnitude_O) {
    add(ParameterRole::kMagnitude, file_magnitude(update));
  }
  return tensors;
}

std::vector<AdapterTensor> own_tensors(const HeldTensor& held) {
  const std::string module = held.module();
  if (!held.rows.empty()) {
    return {{tensor_name(module, ParameterRole::kTokenRows), module, ParameterRole::kTokenRows, /*of_base=*/false, held.tensor}};
  }
  return {{held.name, module, ParameterRole::kWhole, held.of_base, held.tensor, held.wrapper}};
}

std::vector<AdapterTensor> own_tensors(const FormulaUpdate& update) {
  std::vector<AdapterTensor> tensors;
  for (const io::NamedTensor& part : update.change->tensors()) {
    tensors.push_back({update.module + "." + part.name, update.module, ParameterRole::kFormula, /*of_base=*/false, part.tensor});
  }
  return tensors;
}

std::string own_module(const FormulaUpdate& update) {
  return update.module;
}

std::string own_module(const LowRankUpdate& update) {
  return update.module;
}

std::string own_module(const HeldTensor& held) {
  return held.module();
}

void rename_own(FormulaUpdate& update, const std::string& module) {
  update.module = module;
}

void rename_own(LowRankUpdate& update, const std::string& module) {
  update.module = module;
}

void rename_own(HeldTensor& held, const std::string& module) {
  held.name = module + held.name.substr(held.module().size());
}

}  // namespace

std::string module_of(const AdapterUpdate& update) {
  return std::visit([](const auto& own) { return own_module(own); }, update);
}

void rename_module(AdapterUpdate& update, const std::string& module) {
  std::visit([&module](auto& own) { rename_own(own, module); }, update);
}

bool is_of_pair(ParameterRole role) {
  switch (role) {
    case ParameterRole::kLowRankA:
    case ParameterRole::kLowRankB:
    case ParameterRole::kLowRankBias:
    case ParameterRole::kMagnitude:
    case ParameterRole::kEmbeddingA:
    case ParameterRole::kEmbeddingB:
      return true;
    case ParameterRole::kWhole:
    case ParameterRole::kTokenRows:
    case ParameterRole::kFormula:
      break;
  }
  return false;
}

std::vector<AdapterTensor> tensors_of(const AdapterUpdate& update) {
  return std::visit([](const auto& own) { return own_tensors(own); }, update);
}

std::vector<AdapterTensor> tensors_of(const std::vector<AdapterUpdate>& updates) {
  std::vector<AdapterTensor> tensors;
  for (const AdapterUpdate& update : updates) {
    for (AdapterTensor& tensor : tensors_of(update)) {
      tensors.push_back(std::move(tensor));
    }
  }
  return tensors;
}

int64_t num_parameters(const AdapterUpdate& update) {
  int64_t number = 0;
  for (const AdapterTensor& tensor : tensors_of(update)) {
    number += tensor.tensor.numel();
  }
  return number;
}

double scale_of(double alpha, int64_t rank, bool use_rslora) {
  return alpha / (use_rslora ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank));
}

FilePair file_pair(const LowRankUpdate& update) {
  if (update.kernel.empty()) {
    return {update.A_RI, update.B_OR};
  }
  std::vector<int64_t> shape = weight_shape(update);
  shape.front() = update.rank();
  return {update.A_RI.view(shape), with_kernel_axes(update.B_OR, update.kernel)};
}

bool set_pair(LowRankUpdate& update, const FilePair& pair) {
  const int64_t axes = pair.A.dim() - 2;
  const bool fits = axes >= 0 && pair.B.dim() == pair.A.dim() && pair.A.size(0) > 0 && pair.A.size(0) == pair.B.size(1) &&
                    pair.B.numel() == pair.B.size(0) * pair.B.size(1);
  if (fits && axes > 0) {
    update.kind = PairKind::kConvolution;
    update.kernel = pair.A.sizes().slice(2).vec();
  }
  if (fits) {
    update.A_RI = pair.A.flatten(1);
    update.B_OR = pair.B.flatten(1);
  }
  return fits;
}

std::vector<int64_t> weight_shape(const LowRankUpdate& update) {
  const int64_t inputs = update.A_RI.size(1);
  const int64_t outputs = update.B_OR.size(0);
  if (!update.kernel.empty()) {
    std::vector<int64_t> shape{outputs, inputs / c10::multiply_integers(update.kernel)};
    shape.insert(shape.end(), update.kernel.begin(), update.kernel.end());
    return shape;
  }
  return update.is_turned() ? std::vector<int64_t>{inputs, outputs} : std::vector<int64_t>{outputs, inputs};
}

LowRankUpdate rows_of(const LowRankUpdate& update, int64_t begin, int64_t end) {
  LowRankUpdate part = update;
  if (update.is_turned()) {
    part.A_RI = update.A_RI.slice(1, begin, end);
    return part;
  }
  part.B_OR = update.B_OR.slice(0, begin, end);
  if (update.magnitude_O) {
    part.magnitude_O = update.magnitude_O->slice(0, begin, end);
  }
  return part;
}

Tensor delta(const LowRankUpdate& update) {
  const Tensor delta_OI = at::mm(update.B_OR, update.A_RI) * update.scale;
  return update.is_turned() ? delta_OI.t() : delta_OI.view(weight_shape(update));
}

Tensor merged(const LowRankUpdate& update, const Tensor& weight) {
  const at::NoGradGuard no_grad;
  const Tensor change = delta(update);
  if (weight.sizes() != change.sizes()) {
    model_error(update.module, "the adapter does not match the base: found a weight of shape " + io::shape_text(weight.sizes()) +
                                   ", expected " + io::shape_text(change.sizes()));
  }
  const at::ScalarType wide = at::promote_types(weight.scalar_type(), at::kFloat);
  Tensor result = weight.to(wide) + change;
  if (update.magnitude_O) {
    const int64_t inputs = update.is_turned() ? 0 : 1;
    const Tensor factor_O = *update.magnitude_O / at::linalg_vector_norm(update.is_turned() ? result : result.flatten(1), 2, {inputs});
    result = result * with_kernel_axes(factor_O.unsqueeze(inputs), update.kernel);
  }
  return result.to(weight.scalar_type());
}

}  // namespace lora::peft
