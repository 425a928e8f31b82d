#include "lora/nn/batch.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lora::nn {

namespace {

Tensor labelled(const Tensor& labels) {
  return labels.ne(kIgnoreLabel).nonzero().squeeze(1);
}

template <typename Kind, typename Variant>
const Kind& of_kind(const Variant& variant, const char* expected) {
  const Kind* const found = std::get_if<Kind>(&variant);
  TORCH_CHECK(found != nullptr, "a batch has no ", expected);
  return *found;
}

Tensor positions_of(const std::vector<DocumentPlace>& documents, int64_t num_tokens) {
  const Tensor positions_T = at::empty({num_tokens}, at::kLong);
  int64_t* position = positions_T.data_ptr<int64_t>();
  for (const DocumentPlace& document : documents) {
    position = std::generate_n(position, document.length, [next = document.cached_length]() mutable { return next++; });
  }
  return positions_T;
}

std::optional<Tensor> segments_of(const std::vector<DocumentView>& documents, const std::vector<int64_t>& offsets) {
  std::optional<Tensor> segments_T;
  for (size_t d = 0; d < documents.size(); ++d) {
    if (documents[d].second_segment > 0) {
      segments_T = segments_T ? *segments_T : at::zeros({offsets.back()}, at::kLong);
      segments_T->slice(0, offsets[d] + documents[d].second_segment, offsets[d + 1]).fill_(1);
    }
  }
  return segments_T;
}

/// Those that are defined.
std::vector<Tensor*> tensors_of(LatentImages& images) {
  std::vector<Tensor*> all{&images.latents_NCHW, &images.log_variance_NCHW,  &images.noise_NCHW,          &images.timesteps_N,
                           &images.condition.states_NSD, &images.condition.pooled_NP, &images.condition.time_ids_N6,
                           &images.condition.guidance_N};
  all.erase(std::remove_if(all.begin(), all.end(), [](const Tensor* tensor) { return !tensor->defined(); }), all.end());
  return all;
}

}  // namespace

TokenLabels::TokenLabels(Tensor all_T) : TokenLabels(all_T, labelled(all_T)) {}

TokenLabels::TokenLabels(Tensor all_T, Tensor places_S)
    : labels_T(std::move(all_T)),
      supervised_S(std::move(places_S)),
      first_documents_F(at::empty({0}, supervised_S.options())),
      first_labels_F(first_documents_F) {}

void TokenLabels::set_first_labels(const Tensor& labels_D) {
  first_documents_F = labelled(labels_D);
  first_labels_F = labels_D.index_select(0, first_documents_F);
}

const Tokens& Batch::tokens() const {
  return of_kind<Tokens>(payload, "tokens");
}

const Features& Batch::features() const {
  return of_kind<Features>(payload, "features");
}

const LatentImages& Batch::images() const {
  return of_kind<LatentImages>(payload, "images");
}

const TokenLabels& Batch::labels() const {
  return of_kind<TokenLabels>(targets, "labels of tokens");
}

const DocumentTargets& Batch::document_targets() const {
  return of_kind<DocumentTargets>(targets, "targets of documents");
}

int64_t Batch::num_supervised() const {
  const auto* const labels = std::get_if<TokenLabels>(&targets);
  return labels != nullptr ? labels->supervised_S.numel() : 0;
}

Batch Batch::to(at::Device device) const {
  return with_tensors([device](const Tensor& tensor) { return tensor.to(device); });
}

std::vector<Tensor*> Batch::tensors() {
  std::vector<Tensor*> all{&layout.offsets, &layout.positions_T};
  if (auto* const tokens = std::get_if<Tokens>(&payload)) {
    all.push_back(&tokens->ids_T);
    if (tokens->segments_T) {
      all.push_back(&*tokens->segments_T);
    }
  } else if (auto* const images = std::get_if<LatentImages>(&payload)) {
    const std::vector<Tensor*> own = tensors_of(*images);
    all.insert(all.end(), own.begin(), own.end());
  } else {
    all.push_back(&std::get<Features>(payload).values);
  }
  if (auto* const labels = std::get_if<TokenLabels>(&targets)) {
    all.insert(all.end(), {&labels->labels_T, &labels->supervised_S, &labels->first_documents_F, &labels->first_labels_F});
  } else if (auto* const of_documents = std::get_if<DocumentTargets>(&targets)) {
    all.push_back(&of_documents->values);
  }
  return all;
}

void Batch::copy_tensors(const Batch& other) {
  Batch given = other;
  const std::vector<Tensor*> to = tensors(), from = given.tensors();
  TORCH_CHECK(to.size() == from.size() && payload.index() == given.payload.index() && targets.index() == given.targets.index(),
              "a batch is overwritten with one of another kind");
  for (size_t i = 0; i < to.size(); ++i) {
    to[i]->copy_(*from[i]);
  }
}

Batch Batch::with_tensors(const std::function<Tensor(const Tensor&)>& change) const {
  Batch changed = *this;
  for (Tensor* tensor : changed.tensors()) {
    *tensor = change(*tensor);
  }
  return changed;
}

BatchLayout make_layout(const std::vector<DocumentPlace>& documents) {
  BatchLayout layout;
  layout.host_offsets.push_back(0);
  for (const DocumentPlace& document : documents) {
    layout.host_offsets.push_back(layout.host_offsets.back() + document.length);
    layout.sample_ids.push_back(document.sample_id);
    layout.numbers.push_back(document.number);
    layout.cached_lengths.push_back(document.cached_length);
    layout.max_document = std::max(layout.max_document, document.length);
  }
  layout.offsets = at::empty({static_cast<int64_t>(documents.size()) + 1}, at::kInt);
  std::copy(layout.host_offsets.begin(), layout.host_offsets.end(), layout.offsets.data_ptr<int32_t>());
  layout.positions_T = positions_of(documents, layout.num_tokens());
  return layout;
}

Batch make_token_batch(const std::vector<DocumentView>& documents) {
  std::vector<DocumentPlace> places;
  for (const DocumentView& document : documents) {
    places.push_back({static_cast<int64_t>(document.ids->size()), document.sample_id, document.cached_length, document.number});
  }
  Batch batch{make_layout(places), {}, {}};
  Tensor ids_T = at::empty({batch.num_tokens()}, at::kLong), labels_T = at::empty({batch.num_tokens()}, at::kLong);
  const Tensor first_labels_D = at::empty({batch.num_documents()}, at::kLong);
  int64_t* ids = ids_T.data_ptr<int64_t>();
  int64_t* labels = labels_T.data_ptr<int64_t>();
  int64_t* first_label = first_labels_D.data_ptr<int64_t>();
  for (const DocumentView& document : documents) {
    const size_t length = document.ids->size();
    *first_label++ = document.labels != nullptr && length > 0 ? document.labels->front() : kIgnoreLabel;
    for (size_t i = 0; i < length; ++i) {
      *ids++ = (*document.ids)[i];
      *labels++ = document.labels != nullptr && i + 1 < length ? (*document.labels)[i + 1] : kIgnoreLabel;
    }
  }
  batch.payload = Tokens{std::move(ids_T), segments_of(documents, batch.layout.host_offsets)};
  TokenLabels all(std::move(labels_T));
  all.set_first_labels(first_labels_D);
  batch.targets = std::move(all);
  return batch;
}

}  // namespace lora::nn
