#include "app/merge_packing.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <set>

#include "app/text_table.h"
#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/io/packed_matrix.h"
#include "lora/quantization/bitsandbytes_writer.h"

namespace lora::app {

namespace {

using at::Tensor;

constexpr std::string_view kWeightEnd = ".weight";

std::string module_of_weight(const std::string& name) {
  return name.substr(0, name.size() - kWeightEnd.size());
}

/// A tensor of the result as a matrix [out, in], not rounded. @param values the base's.
Tensor merged_matrix(const MergeBase& base, const peft::MergedTensor& tensor, const Tensor& values) {
  const Tensor merged = peft::merged_rows(tensor, values, 0, tensor.shape.front());
  return base.files().files.inputs_first ? merged.t() : merged;
}

std::shared_ptr<const io::PackedMatrix> pack(const Tensor& merged, const peft::MergedTensor& tensor, const MatrixPacking& packing) {
  return quantization::quantize(merged.to(packing.dtype).contiguous(), packing.options, "tensor '" + tensor.name + "'");
}

double sum_of(const Tensor& values) {
  return values.sum(at::kDouble).item<double>();
}

/// Adds one changed matrix. The differences are exact to float32. @param before the base's matrix.
void add_error(PackingError& error, const Tensor& before, const Tensor& merged, const io::PackedMatrix& packed) {
  const Tensor update = (merged.to(at::kFloat) - before.to(at::kFloat)).abs_();
  const Tensor lost = (io::decoded(packed, at::kFloat) - merged).abs_();
  error.matrices += 1;
  error.values += merged.numel();
  error.largest = std::max(error.largest, lost.max().item<double>());
  error.sum += sum_of(lost);
  error.update_largest = std::max(error.update_largest, update.max().item<double>());
  error.update_sum += sum_of(update);
}

/// The model's name if the file's lacks only its prefix: bitsandbytes' tensors are looked up by whole names.
void complete_names(const MergeBase& base, peft::MergePlan& plan) {
  for (peft::MergedTensor& tensor : plan.tensors) {
    const std::string& of_model = tensor.source.empty() ? tensor.name : base.files().name_of(tensor.source);
    if (of_model.ends_with("." + tensor.name)) {
      tensor.name = of_model;
    }
  }
}

/// The modules with a plain weight, and the heads of the family. An embedding does no harm in this list.
std::vector<std::string> modules_of(const MergeBase& base, const std::set<std::string>& plain) {
  std::vector<std::string> modules{"lm_head"};
  if (base.files().is_known) {
    modules.emplace_back(base.files().files.classifier);
  }
  for (const std::string& module : plain) {
    if (std::find(modules.begin(), modules.end(), module) == modules.end()) {
      modules.push_back(module);
    }
  }
  return modules;
}

/// Adds the streams of a tensor that is packed.
void add_packed(PackedResult& result, const MergeBase& base, const peft::MergedTensor& tensor, const MatrixPacking& packing) {
  throw_if_interrupted();
  const Tensor values = base.values(tensor), merged = merged_matrix(base, tensor, values);
  const std::shared_ptr<const io::PackedMatrix> packed = pack(merged, tensor, packing);
  if (tensor.is_changed()) {
    add_error(result.error, base.files().files.inputs_first ? values.t() : values, merged, *packed);
  }
  result.matrices += 1;
  result.values += merged.numel();
  result.bytes += packed->bytes();
  const auto again = [&base, &tensor, packing] {
    throw_if_interrupted();
    std::shared_ptr<const io::PackedMatrix> matrix = pack(merged_matrix(base, tensor, base.values(tensor)), tensor, packing);
    base.release(tensor);
    log::progress("writing " + tensor.name);
    return matrix;
  };
  for (io::TensorStream& stream : quantization::bitsandbytes_streams(*packed, module_of_weight(tensor.name), again)) {
    result.streams.push_back(std::move(stream));
  }
  base.release(tensor);
  log::progress("packing " + tensor.name);
}

std::string percent(double part, double whole) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.0f %%", whole > 0 ? 100 * part / whole : 0.0);
  return text.data();
}

}  // namespace

std::string PackingError::text() const {
  const double count = static_cast<double>(std::max<int64_t>(1, values));
  return "requantised " + counted(matrices, "changed matrix", "changed matrices") + ": |requantised - merged| is " +
         short_number(sum / count, 3) + " on average and " + short_number(largest, 3) + " at most, " + percent(sum, update_sum) + " and " +
         percent(largest, update_largest) +
         " of the update's. Rounding removes much of a small update: in 4 bits, 24 to 125 % of it is usual. Without --requantize, none "
         "of it is lost.";
}

PackingPlan packing_as_loaded(const MergeBase& base, const models::QuantizationPlan& plan) {
  PackingPlan packing;
  for (const peft::BaseTensor& tensor : base.layout().tensors) {
    if (plan.projections.count(tensor.model_name) > 0) {
      packing.emplace(tensor.name, MatrixPacking{plan.loading.quantization, plan.loading.dtype});
    }
  }
  return packing;
}

PackingPlan packing_of_files(const MergeBase& base) {
  PackingPlan packing;
  for (const peft::BaseTensor& tensor : base.layout().tensors) {
    if (!base.source().facts(tensor.name).is_packed) {
      continue;
    }
    const io::StoredWeight stored = base.source().stored(tensor.name);
    const auto options = quantization::bitsandbytes_options(*stored.packed);
    if (!options) {
      model_error(base.source().path().string(), "cannot be packed again as it was: found weights in the format " +
                                                     stored.packed->format() + ", expected one that can be written: nf4, fp4 or int8 of "
                                                     "bitsandbytes. Leave out --requantize for a model of plain numbers.");
    }
    packing.emplace(tensor.name, MatrixPacking{*options, stored.packed->value_dtype()});
    base.source().release(tensor.name);
  }
  return packing;
}

PackedResult pack_result(const MergeBase& base, peft::MergePlan& plan, const PackingPlan& packing) {
  complete_names(base, plan);
  PackedResult result;
  std::set<std::string> plain;
  for (const peft::MergedTensor& tensor : plan.tensors) {
    if (const auto found = packing.find(tensor.source); found != packing.end()) {
      add_packed(result, base, tensor, found->second);
      continue;
    }
    result.streams.push_back(base.stream(tensor));
    if (tensor.shape.size() == 2 && tensor.name.ends_with(kWeightEnd)) {
      plain.insert(module_of_weight(tensor.name));
    }
  }
  result.plain_modules = modules_of(base, plain);
  return result;
}

}  // namespace lora::app
