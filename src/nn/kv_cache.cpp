#include "lora/nn/kv_cache.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

namespace lora::nn {

KvCache::KvCache(const std::vector<int64_t>& capacities, int64_t prefix_length)
    : prefix_length_(prefix_length), slots_(capacities.size() + 1, 0), lengths_(capacities.size(), 0) {
  for (size_t d = 0; d < capacities.size(); ++d) {
    slots_[d + 1] = slots_[d] + prefix_length + capacities[d];
  }
}

void KvCache::begin_pass(const BatchLayout& batch) {
  std::vector<int64_t> places, prefix_places;
  const auto append = [](std::vector<int64_t>& to, int64_t first, int64_t count) {
    to.resize(to.size() + static_cast<size_t>(count));
    std::iota(to.end() - count, to.end(), first);
  };
  host_begins_.clear();
  host_used_.clear();
  longest_ = 0;
  for (int64_t d = 0; d < batch.num_documents(); ++d) {
    const int64_t document = batch.sample_ids[d], begin = slots_[document];
    const int64_t used = prefix_length_ + lengths_[document] + batch.length(d);
    TORCH_CHECK(batch.cached_lengths[d] == lengths_[document], "document ", document, " does not continue where the cache ends");
    TORCH_CHECK(used <= slots_[document + 1] - begin, "document ", document, " is longer than its slots in the cache");
    if (lengths_[document] == 0) {
      append(prefix_places, begin, prefix_length_);
    }
    append(places, begin + prefix_length_ + lengths_[document], batch.length(d));
    lengths_[document] += batch.length(d);
    host_begins_.push_back(begin);
    host_used_.push_back(used);
    longest_ = std::max(longest_, used);
  }
  host_begins_.push_back(slots_.back());
  const at::Device device = batch.device();
  const auto to_device = [device](const std::vector<int64_t>& numbers, at::ScalarType type) {
    return at::tensor(numbers, at::kLong).to(type).to(device);
  };
  places_T_ = to_device(places, at::kLong);
  prefix_places_ = to_device(prefix_places, at::kLong);
  begins_ = to_device(host_begins_, at::kInt);
  used_ = to_device(host_used_, at::kInt);
}

void KvCache::store(int64_t layer, const Tensor& k_TKE, const Tensor& v_TKE, const std::optional<KeyPrefix>& prefix) {
  const int64_t given = prefix ? prefix->keys_NKE.size(0) : 0;
  TORCH_CHECK(given == prefix_length_, "the cache was made for ", prefix_length_, " keys before each document: found ", given);
  const auto room_for = [this](const Tensor& x_TKE) { return at::empty({slots_.back(), x_TKE.size(1), x_TKE.size(2)}, x_TKE.options()); };
  if (layer == static_cast<int64_t>(layers_.size())) {
    layers_.push_back({room_for(k_TKE), room_for(v_TKE)});
  }
  const Layer& own = layers_[layer];
  own.keys_SKE.index_copy_(0, places_T_, k_TKE);
  own.values_SKE.index_copy_(0, places_T_, v_TKE);
  if (prefix && prefix_places_.size(0) > 0) {
    const int64_t documents = prefix_places_.size(0) / prefix_length_;
    own.keys_SKE.index_copy_(0, prefix_places_, prefix->keys_NKE.repeat({documents, 1, 1}));
    own.values_SKE.index_copy_(0, prefix_places_, prefix->values_NKE.repeat({documents, 1, 1}));
  }
}

}  // namespace lora::nn
