#include "lora/nn/pass.h"

#include <ATen/ATen.h>

#include "lora/base/random.h"
#include "lora/nn/kv_cache.h"
#include "lora/ops/recompute.h"
#include "nn/prefixed_documents.h"

namespace lora::nn {

namespace {

/// Keys for virtual tokens before each document: of its first token's, so that they depend on nothing else either.
Tensor keys_after(const Batch& batch, const Tensor& row_keys_T, int64_t count) {
  static constexpr int64_t kStep = 0x632be59bd9b4e019;  // odd: no two of a document are equal
  const BatchLayout& layout = batch.layout;
  const PrefixedDocuments places(layout, count);
  const Tensor begins_D = layout.offsets.slice(0, 0, -1).to(at::kLong);
  const Tensor steps_N = at::arange(1, count + 1, row_keys_T.options()) * kStep;
  const Tensor keys_DN = row_keys_T.index_select(0, begins_D).unsqueeze(1) + steps_N;
  return places.with_prefixes(keys_DN, row_keys_T);
}

}  // namespace

Pass evaluation_pass(Batch batch) {
  return Pass(std::move(batch));
}

Pass cached_pass(Batch batch, KvCache& cache) {
  cache.begin_pass(batch.layout);
  Pass pass(std::move(batch));
  pass.cache = &cache;
  return pass;
}

Pass Pass::of_rows(Tensor row_keys) const {
  Pass rows = *this;
  rows.row_keys_T = std::move(row_keys);
  rows.cache = nullptr;
  rows.observer = nullptr;
  rows.recompute = Recompute::kNothing;
  rows.host_store = nullptr;
  rows.needed_S = Tensor();
  return rows;
}

Pass Pass::after_prefix(int64_t length) const {
  Pass after = *this;
  if (length > 0) {
    auto batch = std::make_shared<Batch>(*batch_);
    batch->layout.prefix_length = length;
    batch->layout.positions_T = batch->layout.positions_T + length;
    after.batch_ = std::move(batch);
  }
  return after;
}

Pass Pass::with_virtual_tokens(int64_t count) const {
  Pass longer = *this;
  if (count > 0) {
    longer.batch_ = std::make_shared<const Batch>(nn::with_virtual_tokens(*batch_, count));
    longer.row_keys_T = training() ? keys_after(*batch_, row_keys_T, count) : Tensor();
  }
  return longer;
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

Tensor recomputed(const std::vector<Tensor>& inputs, const Pass& pass, Recompute part,
                  const std::function<Tensor(const std::vector<Tensor>&, const Pass&)>& f) {
  const bool is_part = pass.recompute == part || (pass.recompute == Recompute::kOffload && part == Recompute::kLayers);
  if (!is_part || !pass.training()) {
    return f(inputs, pass);
  }
  Pass own = pass.of_rows(pass.row_keys_T);
  own.needed_S = pass.needed_S;
  const auto again = [f, own](const std::vector<Tensor>& all) { return f(all, own); };
  return ops::recompute(again, inputs, pass.host_store);
}

Tensor recomputed(const Tensor& x, const Pass& pass, Recompute part, const std::function<Tensor(const Tensor&, const Pass&)>& f) {
  const auto of_one = [f](const std::vector<Tensor>& inputs, const Pass& own) { return f(inputs.front(), own); };
  return recomputed(std::vector<Tensor>{x}, pass, part, of_one);
}

namespace {

/// The key of each token's random numbers, on the layout's device.
Tensor row_keys(const BatchLayout& layout, uint64_t seed, int64_t step) {
  static constexpr uint64_t kDropout = 0xd509;  // the "what" of this use of the seed
  const uint64_t step_key = mix64(mix64(seed, kDropout), static_cast<uint64_t>(step));
  const at::Device device = layout.device();
  const Tensor keys_T = at::empty({layout.num_tokens()}, at::TensorOptions(at::kLong).pinned_memory(device.is_cuda()));
  int64_t* keys = keys_T.data_ptr<int64_t>();
  for (int64_t d = 0; d < layout.num_documents(); ++d) {
    const uint64_t sample_key = mix64(step_key, static_cast<uint64_t>(layout.sample_ids[d]));
    // The complement is no position, so that a further document's key is no token's.
    const uint64_t key = layout.numbers[d] == 0 ? sample_key : mix64(sample_key, ~static_cast<uint64_t>(layout.numbers[d]));
    for (int64_t t = 0; t < layout.length(d); ++t) {
      *keys++ = static_cast<int64_t>(mix64(key, static_cast<uint64_t>(t)));
    }
  }
  return keys_T.to(device, at::kLong, /*non_blocking=*/true);
}

}  // namespace

Pass training_pass(Batch batch, uint64_t seed, int64_t step, Recompute recompute) {
  Tensor keys_T = row_keys(batch.layout, seed, step);
  Pass pass(std::move(batch), std::move(keys_T));
  pass.recompute = recompute;
  pass.host_store = recompute == Recompute::kOffload ? std::make_shared<ops::HostStore>() : nullptr;
  return pass;
}

}  // namespace lora::nn
