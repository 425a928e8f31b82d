#include "lora/data/batches.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>
#include <set>

#include "data/dense_rows.h"
#include "data/image_batches.h"
#include "data/image_tensors.h"
#include "lora/base/error.h"
#include "lora/base/random.h"

namespace lora::data {
namespace {

// Distinguishes the uses of the seed.
constexpr uint64_t kCopies = 0xc0b1;
constexpr uint64_t kOrder = 0x0d3e;
constexpr uint64_t kBinOrder = 0xb135;
constexpr uint64_t kForm = 0xf039;

using Groups = std::vector<std::vector<int64_t>>;

uint64_t epoch_key(const BatchOptions& options, uint64_t what, int64_t epoch) {
  return mix64(mix64(options.seed, what), static_cast<uint64_t>(epoch));
}

double weight_of(const Dataset& dataset, int64_t first, int64_t end) {
  double weight = 0;
  for (int64_t i = first; i < end; ++i) {
    weight += dataset.examples[i].weight;
  }
  return weight;
}

// The examples of the epoch in file order, each repeated according to its weight; at least one. Of the forms of a row, the one that the
// epoch's draw chooses.
std::vector<int64_t> epoch_examples(const Dataset& dataset, const BatchOptions& options, int64_t epoch) {
  const uint64_t key = epoch_key(options, kCopies, epoch), form_key = epoch_key(options, kForm, epoch);
  std::vector<int64_t> indices;
  double nearest = INFINITY;
  int64_t nearest_index = 0;
  for (int64_t first = 0, end = 0; first < static_cast<int64_t>(dataset.examples.size()); first = end) {
    end = end_of_forms(dataset, first);
    const double weight = weight_of(dataset, first, end);
    const double whole = std::floor(weight);
    const double draw = CounterRandom(mix64(key, static_cast<uint64_t>(first))).uniform();
    const int64_t form = chosen_form(dataset, first, end, CounterRandom(mix64(form_key, static_cast<uint64_t>(first))).uniform());
    indices.insert(indices.end(), static_cast<size_t>(whole) + (draw < weight - whole ? 1 : 0), form);
    if (draw / weight < nearest) {
      nearest = draw / weight;
      nearest_index = form;
    }
  }
  if (indices.empty() && !dataset.examples.empty()) {
    indices.push_back(nearest_index);
  }
  return indices;
}

template <typename Item>
std::vector<Item> shuffled(const std::vector<Item>& items, uint64_t key) {
  std::vector<Item> result;
  result.reserve(items.size());
  for (const int64_t i : permutation(static_cast<int64_t>(items.size()), key)) {
    result.push_back(items[i]);
  }
  return result;
}

int64_t num_tokens(const Dataset& dataset, int64_t index) {
  return dataset.examples[index].num_tokens();
}

// Best-fit decreasing: the longest first, each into the fullest bin that still has space; of equally full bins, into the oldest.
Groups pack(const Dataset& dataset, std::vector<int64_t> indices, int64_t max_length) {
  const auto length = [&](int64_t index) { return num_tokens(dataset, index); };
  std::stable_sort(indices.begin(), indices.end(), [&](int64_t a, int64_t b) { return length(a) > length(b); });
  Groups bins;
  std::set<std::pair<int64_t, int64_t>> room;  // tokens free, bin
  for (const int64_t index : indices) {
    const int64_t size = length(index);
    if (size > max_length) {
      config_error("data.max_length", "found " + std::to_string(max_length) + " for bins, expected space for " +
                                          dataset.examples[index].origin.text() + " with " + std::to_string(size) + " tokens");
    }
    auto fit = room.lower_bound({size, 0});
    if (fit == room.end()) {
      fit = room.emplace(max_length, static_cast<int64_t>(bins.size())).first;
      bins.emplace_back();
    }
    const auto [free, bin] = *fit;
    room.erase(fit);
    bins[bin].push_back(index);
    room.emplace(free - size, bin);
  }
  return bins;
}

// `count` groups of documents per batch; the last batch may be smaller.
Groups join_groups(const Groups& groups, int64_t count) {
  Groups batches;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (i % static_cast<size_t>(count) == 0) {
      batches.emplace_back();
    }
    batches.back().insert(batches.back().end(), groups[i].begin(), groups[i].end());
  }
  return batches;
}

nn::Batch batch_of_features(const Dataset& dataset, const std::vector<int64_t>& indices) {
  std::vector<nn::DocumentPlace> places;
  for (const int64_t index : indices) {
    places.push_back({/*length=*/1, index});
  }
  return {nn::make_layout(places), nn::Features{features_of(dataset, indices)}, {}};
}

nn::Batch batch_of_images(const Dataset& dataset, const std::vector<int64_t>& indices) {
  std::vector<nn::DocumentPlace> places;
  for (const int64_t index : indices) {
    places.push_back({/*length=*/1, index});
  }
  return {nn::make_layout(places), images_of(dataset, indices), {}};
}

nn::Batch batch_of_documents(const Dataset& dataset, const std::vector<int64_t>& indices) {
  std::deque<std::vector<int32_t>> labels;  // at fixed addresses: the documents point into it
  std::vector<nn::DocumentView> documents;
  documents.reserve(indices.size());
  for (const int64_t index : indices) {
    const Example& example = dataset.examples.at(static_cast<size_t>(index));
    const auto* const text = std::get_if<LabelledText>(&example.content);
    for (size_t number = 0; number < example.num_documents(); ++number) {
      labels.push_back(example.labels(number));
      documents.push_back({&example.ids(number), &labels.back(), index, /*cached_length=*/0, text != nullptr ? text->second_text : 0,
                           static_cast<int64_t>(number)});
    }
  }
  return nn::make_token_batch(documents);
}

// Batches of one size are in the examples' order, which is shuffled already.
bool has_several_sizes(const Dataset& dataset) {
  const auto differs = [&](const Example& example) { return example.image()->size() != dataset.examples.front().image()->size(); };
  return std::any_of(dataset.examples.begin(), dataset.examples.end(), differs);
}

}  // namespace

Groups plan_epoch(const Dataset& dataset, const BatchOptions& options, int64_t epoch) {
  if (options.batch_size < 1) {
    config_error("batch size", "found " + std::to_string(options.batch_size) + ", expected at least 1");
  }
  std::vector<int64_t> indices = epoch_examples(dataset, options, epoch);
  if (options.shuffle) {
    indices = shuffled(indices, epoch_key(options, kOrder, epoch));
  }
  if (!dataset.examples.empty() && dataset.examples.front().image() != nullptr) {
    const Groups batches = join_by_size(dataset, indices, options.batch_size);
    return options.shuffle && has_several_sizes(dataset) ? shuffled(batches, epoch_key(options, kBinOrder, epoch)) : batches;
  }
  Groups groups;
  if (options.packing) {
    groups = pack(dataset, std::move(indices), options.max_length);
    groups = options.shuffle ? shuffled(groups, epoch_key(options, kBinOrder, epoch)) : groups;
  } else {
    for (const int64_t index : indices) {
      groups.push_back({index});
    }
  }
  return options.tokens_per_batch > 0 ? join_by_tokens(dataset, groups, options.tokens_per_batch) : join_groups(groups, options.batch_size);
}

Groups join_by_tokens(const Dataset& dataset, const Groups& groups, int64_t budget) {
  Groups batches;
  int64_t room = 0;
  for (const std::vector<int64_t>& group : groups) {
    int64_t size = 0;
    for (const int64_t index : group) {
      size += num_tokens(dataset, index);
    }
    if (batches.empty() || size > room) {
      batches.emplace_back();
      room = budget;
    }
    batches.back().insert(batches.back().end(), group.begin(), group.end());
    room -= size;
  }
  return batches;
}

Groups spread_by_tokens(const Dataset& dataset, const std::vector<int64_t>& indices, int64_t budget, int64_t multiple) {
  std::vector<int64_t> places(indices.size());
  std::iota(places.begin(), places.end(), 0);
  const auto length = [&](int64_t place) { return num_tokens(dataset, indices[place]); };
  std::stable_sort(places.begin(), places.end(), [&](int64_t a, int64_t b) { return length(a) > length(b); });
  const auto first_small = std::find_if(places.begin(), places.end(), [&](int64_t place) { return length(place) <= budget; });
  Groups groups;
  for (auto place = places.begin(); place != first_small; ++place) {
    groups.push_back({*place});
  }
  const auto begin = static_cast<int64_t>(groups.size()), num_small = static_cast<int64_t>(places.end() - first_small);
  const int64_t all =
      std::accumulate(first_small, places.end(), int64_t{0}, [&](int64_t sum, int64_t place) { return sum + length(place); });
  const int64_t needed = (all + budget * multiple - 1) / (budget * multiple) * multiple;
  groups.resize(static_cast<size_t>(begin + std::min(needed, num_small)));
  std::vector<int64_t> tokens(groups.size(), 0);
  for (auto place = first_small; place != places.end(); ++place) {
    auto fewest = std::min_element(tokens.begin() + begin, tokens.end()) - tokens.begin();
    if (tokens[fewest] + length(*place) > budget) {
      fewest = static_cast<std::ptrdiff_t>(groups.size());
      groups.emplace_back();
      tokens.push_back(0);
    }
    groups[fewest].push_back(*place);
    tokens[fewest] += length(*place);
  }
  for (std::vector<int64_t>& group : groups) {
    std::sort(group.begin(), group.end());
  }
  std::sort(groups.begin(), groups.end());
  for (std::vector<int64_t>& group : groups) {
    std::transform(group.begin(), group.end(), group.begin(), [&](int64_t place) { return indices[place]; });
  }
  return groups;
}

nn::Batch make_batch(const Dataset& dataset, const std::vector<int64_t>& indices) {
  const Example* const first = indices.empty() ? nullptr : &dataset.examples.at(static_cast<size_t>(indices.front()));
  if (first != nullptr && first->image() != nullptr) {
    return batch_of_images(dataset, indices);
  }
  const bool has_features = first != nullptr && first->features() != nullptr;
  nn::Batch batch = has_features ? batch_of_features(dataset, indices) : batch_of_documents(dataset, indices);
  if (auto targets = targets_of(dataset, indices); targets && !indices.empty()) {
    batch.targets = nn::DocumentTargets{std::move(*targets)};
  }
  return batch;
}

}  // namespace lora::data
