#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <variant>
#include <vector>

#include "lora/ops/attention.h"

namespace lora::nn {

using at::Tensor;

/// Label of a position that has no target.
inline constexpr int64_t kIgnoreLabel = -100;

/// Where the documents of a batch lie and which they are. They are packed end to end: there is no padding and hence no padding mask;
/// attention stays within a document by `offsets`. T tokens in all, D documents.
struct BatchLayout : ops::DocumentLayout {
  Tensor positions_T;                   ///< int64, restarts in each document: at 0, or after its cached tokens
  std::vector<int64_t> sample_ids;      ///< [D], index of each document's example in its dataset
  std::vector<int64_t> numbers;         ///< [D], of each document among those of its example, from 0; they lie next to each other
  std::vector<int64_t> cached_lengths;  ///< [D], tokens of each document that earlier passes left in a KvCache
  int64_t prefix_length = 0;            ///< keys that an adapter puts before each document's; positions_T counts them

  int64_t num_tokens() const { return host_offsets.empty() ? 0 : host_offsets.back(); }
  int64_t num_documents() const { return static_cast<int64_t>(sample_ids.size()); }
  /// Tokens of a document in the batch.
  int64_t length(int64_t document) const { return host_offsets[document + 1] - host_offsets[document]; }
  /// Keys of a document: its tokens, the cached ones, and those before it.
  int64_t full_length(int64_t document) const { return prefix_length + cached_lengths[document] + length(document); }
  at::Device device() const { return offsets.device(); }
};

/// The content of documents of tokens.
struct Tokens {
  Tensor ids_T;                      ///< int64
  std::optional<Tensor> segments_T;  ///< int64, which of a document's two texts a token is in (token_type_ids); none: all in the first
};

/// The content of rows for a network that is not a language model: each row is a document of one position.
struct Features {
  Tensor values;  ///< float32 [D, ...]
};

/// What images are to show, for a network that removes noise from them. N images, S positions of text, D channels of text states, P
/// channels of the pooled text.
struct ImageCondition {
  Tensor states_NSD;   ///< hidden states of the text encoders
  Tensor pooled_NP;    ///< pooled text (SDXL); undefined: the network has no input for it
  Tensor time_ids_N6;  ///< SDXL: original height and width, top and left of the crop, target height and width; undefined as above
  Tensor guidance_N = {};  ///< FLUX.1-dev: how closely images are to follow the text; undefined as above
};

/// Images of one size, in float32: each is a document of one position. Latents are scaled as the network takes them.
struct LatentImages {
  Tensor latents_NCHW;       ///< the latents, or with a log-variance the means of the distributions that they are drawn from
  Tensor log_variance_NCHW;  ///< undefined: the latents are given
  Tensor noise_NCHW;         ///< undefined: it is drawn
  Tensor timesteps_N;        ///< int64; undefined: they are drawn
  ImageCondition condition;
};

/// A label for each token.
struct TokenLabels {
  Tensor labels_T;      ///< int64, already shifted: the token that follows, kIgnoreLabel where not supervised
  Tensor supervised_S;  ///< int64, the tokens that have a label, ascending; computed on the host, so that no pass waits for a device
  /// The first tokens of documents that have a label, which only counts if an adapter puts virtual tokens before them: int64, the
  /// documents, ascending, and their labels. Computed on the host too.
  Tensor first_documents_F, first_labels_F;

  TokenLabels() = default;
  /// `labels_T` on the CPU.
  explicit TokenLabels(Tensor labels_T);
  TokenLabels(Tensor labels_T, Tensor supervised_S);

  /// Sets the labels of the documents' first tokens, on the CPU.
  void set_first_labels(const Tensor& labels_D);
};

/// A label for each document as a whole.
struct DocumentTargets {
  Tensor values;  ///< int64 [D] for classes, or float32 [D] or [D, K]
};

/// What one forward pass computes with: the only batch format.
struct Batch {
  BatchLayout layout;
  std::variant<Tokens, Features, LatentImages> payload;
  std::variant<std::monostate, TokenLabels, DocumentTargets> targets;  ///< what the loss compares with

  int64_t num_tokens() const { return layout.num_tokens(); }
  int64_t num_documents() const { return layout.num_documents(); }
  /// The content of a batch that has the given kind; anything else is a programming error.
  const Tokens& tokens() const;
  const Features& features() const;
  const LatentImages& images() const;
  const TokenLabels& labels() const;
  const DocumentTargets& document_targets() const;
  /// Number of tokens with a label.
  int64_t num_supervised() const;

  /// The batch with each of its tensors transformed.
  Batch with_tensors(const std::function<Tensor(const Tensor&)>& change) const;
  Batch to(at::Device device) const;
  /// Overwrites the tensors with those of a batch of the same kind and shape.
  void copy_tensors(const Batch& other);

 private:
  std::vector<Tensor*> tensors();
};

/// The id of the i-th of the virtual tokens before a document, which is in no vocabulary: an adapter gives its embedding.
constexpr int64_t virtual_token(int64_t i) {
  return -1 - i;
}

/// The batch with `count` virtual tokens before each document, on its device. They are tokens like others: positions and lengths count
/// them, and the last one predicts the document's first token. 0: the batch itself. No document may have cached tokens.
Batch with_virtual_tokens(const Batch& batch, int64_t count);

/// A document's length, which it is, and how many of its tokens are cached.
struct DocumentPlace {
  int64_t length;
  int64_t sample_id;
  int64_t cached_length = 0;
  int64_t number = 0;  ///< among the documents of its example
};

/// The layout of such documents, in order, on the CPU.
BatchLayout make_layout(const std::vector<DocumentPlace>& documents);

/// One document for make_token_batch: `labels` are not shifted; null: nothing is supervised.
struct DocumentView {
  const std::vector<int32_t>* ids;
  const std::vector<int32_t>* labels;
  int64_t sample_id;
  int64_t cached_length = 0;   ///< number of cached tokens before these
  int64_t second_segment = 0;  ///< where the second of two texts begins; 0: there is only one
  int64_t number = 0;          ///< among the documents of its example
};

/// Packs documents of tokens, in order, into one batch on the CPU.
Batch make_token_batch(const std::vector<DocumentView>& documents);

}  // namespace lora::nn
