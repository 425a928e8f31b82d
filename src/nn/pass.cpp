#include "lora/nn/pass.h"

#include <ATen/ATen.h>

#include "lora/base/random.h"
#include "lora/nn/kv_cache.h"
#include "lora/ops/recompute.h"

namespace lora::nn {

Pass evaluation_pass(const TokenBatch& batch) {
  return Pass{batch, Tensor()};
}

Pass cached_pass(const TokenBatch& batch, KvCache& cache) {
  cache.begin_pass(batch);
  return Pass{batch, Tensor(), &cache};
}

Tensor Pass::needed(const Tensor& x_TD) const {
  return needed_S.defined() ? x_TD.index_select(0, needed_S) : x_TD;
}

Pass Pass::of_needed() const {
  Pass rest = *this;
  if (needed_S.defined()) {
    rest.row_keys_T = training() ? row_keys_T.index_select(0, needed_S) : Tensor();
    rest.needed_S = Tensor();
  }
  return rest;
}

Tensor recomputed(const Tensor& x, const Pass& pass, Recompute part, const std::function<Tensor(const Tensor&, const Pass&)>& f) {
  const bool is_part = pass.recompute == part || (pass.recompute == Recompute::kOffload && part == Recompute::kLayers);
  if (!is_part || !pass.training()) {
    return f(x, pass);
  }
  // Backward runs after the caller's batch is gone.
  const auto again = [f, batch = pass.batch, keys_T = pass.row_keys_T, needed_S = pass.needed_S](const Tensor& input) {
    Pass own{batch, keys_T};
    own.needed_S = needed_S;
    return f(input, own);
  };
  return ops::recompute(again, x, pass.host_store);
}

Pass training_pass(const TokenBatch& batch, uint64_t seed, int64_t step, Recompute recompute) {
  static constexpr uint64_t kDropout = 0xd509;  // the "what" of this use of the seed
  const uint64_t step_key = mix64(mix64(seed, kDropout), static_cast<uint64_t>(step));
  const at::Device device = batch.ids_T.device();
  const Tensor keys_T = at::empty({batch.num_tokens()}, at::TensorOptions(at::kLong).pinned_memory(device.is_cuda()));
  int64_t* keys = keys_T.data_ptr<int64_t>();
  for (int64_t d = 0; d < batch.num_documents(); ++d) {
    const uint64_t sample_key = mix64(step_key, static_cast<uint64_t>(batch.sample_ids[d]));
    const int64_t begin = batch.document_offsets[d];
    for (int64_t t = begin; t < batch.document_offsets[d + 1]; ++t) {
      keys[t] = static_cast<int64_t>(mix64(sample_key, static_cast<uint64_t>(t - begin)));
    }
  }
  Pass pass{batch, keys_T.to(device, at::kLong, /*non_blocking=*/true)};
  pass.recompute = recompute;
  pass.host_store = recompute == Recompute::kOffload ? std::make_shared<ops::HostStore>() : nullptr;
  return pass;
}

}  // namespace lora::nn
