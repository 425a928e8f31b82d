#include "lora/nn/kv_cache.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

namespace lora::nn {

KvCache::KvCache(const std::vector<int64_t>& capacities) : slots_(capacities.size() + 1, 0), lengths_(capacities.size(), 0) {
  std::partial_sum(capacities.begin(), capacities.end(), slots_.begin() + 1);
}

void KvCache::begin_pass(const BatchLayout& batch) {
  const Tensor places_T = at::empty({batch.num_tokens()}, at::kLong);
  int64_t* place = places_T.data_ptr<int64_t>();
  host_begins_.clear();
  host_used_.clear();
  longest_ = 0;
  for (int64_t d = 0; d < batch.num_documents(); ++d) {
    const int64_t document = batch.sample_ids[d];
    const int64_t used = batch.full_length(d);
    TORCH_CHECK(batch.cached_lengths[d] == lengths_[document], "document ", document, " does not continue where the cache ends");
    TORCH_CHECK(used <= slots_[document + 1] - slots_[document], "document ", document, " is longer than its slots in the cache");
    place = std::generate_n(place, used - lengths_[document], [next = slots_[document] + lengths_[document]]() mutable { return next++; });
    lengths_[document] = used;
    host_begins_.push_back(slots_[document]);
    host_used_.push_back(used);
    longest_ = std::max(longest_, used);
  }
  host_begins_.push_back(slots_.back());
  const at::Device device = batch.device();
  const auto to_device = [device](const std::vector<int64_t>& numbers) { return at::tensor(numbers, at::kLong).to(at::kInt).to(device); };
  places_T_ = places_T.to(device);
  begins_ = to_device(host_begins_);
  used_ = to_device(host_used_);
}

void KvCache::store(int64_t layer, const Tensor& k_TKE, const Tensor& v_TKE) {
  const auto room_for = [this](const Tensor& x_TKE) { return at::empty({slots_.back(), x_TKE.size(1), x_TKE.size(2)}, x_TKE.options()); };
  if (layer == static_cast<int64_t>(layers_.size())) {
    layers_.push_back({room_for(k_TKE), room_for(v_TKE)});
  }
  layers_[layer].keys_SKE.index_copy_(0, places_T_, k_TKE);
  layers_[layer].values_SKE.index_copy_(0, places_T_, v_TKE);
}

}  // namespace lora::nn
