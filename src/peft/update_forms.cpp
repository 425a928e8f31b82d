#include "peft/update_forms.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/io/dtype_name.h"

namespace lora::peft {

bool is_embedding_name(const std::string& module) {
  const std::string last = module.substr(module.rfind('.') + 1);
  return last.find("embed") != std::string::npos ? last != "embed_out" : last == "wte" || last == "wpe";
}

double plain_alpha(const LowRankUpdate& update) {
  // alpha itself if it fits: scale · rank may differ in the last bit.
  return scale_of(update.alpha, update.rank(), /*use_rslora=*/false) == update.scale ? update.alpha
                                                                                     : update.scale * static_cast<double>(update.rank());
}

double commonest_scale(const std::vector<LowRankUpdate>& updates) {
  return commonest<double>(
      updates, [](const LowRankUpdate& update) { return update.scale; }, 1);
}

double commonest_plain_alpha(const std::vector<LowRankUpdate>& updates) {
  return commonest<double>(updates, plain_alpha, 1);
}

LowRankUpdate with_scale(LowRankUpdate update, double scale) {
  if (scale != update.scale) {
    const double quotient = update.scale / scale;
    update.B_OR = update.B_OR * quotient;
    if (update.bias_O) {
      update.bias_O = *update.bias_O * quotient;
    }
    update.scale = scale;
  }
  update.alpha = plain_alpha(update);
  return update;
}

LowRankUpdate with_rank(LowRankUpdate update, int64_t rank) {
  const int64_t missing = rank - update.rank();
  if (missing > 0) {
    const Tensor A = update.A_RI;
    const Tensor B = update.B_OR;
    update.A_RI = at::cat({A, at::zeros({missing, A.size(1)}, A.options())}, 0);
    update.B_OR = at::cat({B, at::zeros({B.size(0), missing}, B.options())}, 1);
    update.alpha = update.scale * static_cast<double>(rank);
  }
  return update;
}

std::vector<LowRankUpdate> uniform(const std::vector<LowRankUpdate>& updates) {
  const double scale = commonest_scale(updates);
  int64_t rank = 1;
  for (const LowRankUpdate& update : updates) {
    rank = std::max(rank, update.rank());
  }
  std::vector<LowRankUpdate> result;
  result.reserve(updates.size());
  for (const LowRankUpdate& update : updates) {
    result.push_back(with_rank(with_scale(update, scale), rank));
  }
  const double alpha = commonest_plain_alpha(result);
  for (LowRankUpdate& update : result) {
    update.alpha = alpha;  // one number for all: the last bit of scale · rank depends on how it was computed
  }
  return result;
}

std::vector<LowRankUpdate> rounded(std::vector<LowRankUpdate> updates, at::ScalarType dtype) {
  for (LowRankUpdate& update : updates) {
    const auto round = [&](Tensor& tensor) {
      tensor = tensor.to(dtype);
      if (!at::isfinite(tensor).all().item<bool>()) {
        model_error(update.module, "has a value that is too large for " + io::dtype_name(dtype) + ". Use --dtype float32 or bfloat16.");
      }
    };
    round(update.A_RI);
    round(update.B_OR);
    if (update.magnitude_O) {
      round(*update.magnitude_O);
    }
    if (update.bias_O) {
      round(*update.bias_O);
    }
  }
  return updates;
}

}  // namespace lora::peft
