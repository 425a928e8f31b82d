#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/models/options.h"
#include "lora/nn/model.h"

namespace lora::models {

/// Requests a head that scores documents instead of the one over the vocabulary.
struct SequenceHeadRequest {
  std::optional<int64_t> num_labels;  ///< none: as many as the folder's own head has
};

/// A loaded base model: frozen, on its device.
struct BaseModel {
  std::unique_ptr<nn::Model> model;
  Json config;                               ///< config.json, with tie_word_embeddings matching the weights
  std::string model_type;                    ///< the name of its family
  std::vector<std::filesystem::path> files;  ///< config.json and the weight files, to be hashed
  /// The names under which weights are saved, where they differ from the model's.
  std::map<std::string, std::string> file_names;
  std::string component;  ///< the folder of a text-to-image pipeline that its files are in ("unet"); empty: it is no part of one
  /// Weights of the head that the folder lacks: they are random, determined by the seed.
  std::vector<std::string> created;
  /// Keys of config.json that the family neither reads nor knows to be irrelevant, as paths ("rope_parameters.factor").
  std::vector<std::string> unread_keys;
  /// What is packed, as nn::PackedWeights says it; empty: nothing. It tells bases of the same weights apart.
  std::string quantization;
  /// The weight of that name as it is in the folder, before it was quantised: [out, in] in the model's dtype, on the CPU; null: the model
  /// was not quantised while it was loaded. A weight is read at each call and valid until the next.
  std::function<at::Tensor(const std::string& name)> plain_weight;
  std::string fingerprint;  ///< io::Checkpoint::fingerprint(); empty with from_scratch
};

/// Loads the folder of `options`, or creates random weights of config.json's shape (`from_scratch`, by `seed`).
/// Throws model Error for a path that is not a model folder, an unknown model_type (lists the known ones), a weight that is missing,
/// has another shape or holds a non-finite value, and a model without the requested head: the one over the vocabulary, or with `head`
/// one that scores documents, whose weights may be missing. Warns of weights and keys that the family does not know, and of
/// CheckpointLayout's notes.
BaseModel load_base_model(const ModelOptions& options, uint64_t seed, const std::optional<SequenceHeadRequest>& head = std::nullopt);

/// Throws model Error naming `where` and the tensor for a base weight that holds a value that is not finite.
void require_finite_weights(const nn::Model& model, const std::string& where);

/// vocab_size in config.json of the model in `folder`.
int64_t read_vocab_size(const std::filesystem::path& folder);

/// The requested dtype; none for auto.
std::optional<at::ScalarType> scalar_type(ComputeDtype dtype);

/// The dtype that a model computes in: the requested one, otherwise config.json's (transformers 5: `dtype`, 4: `torch_dtype`), otherwise
/// that of the weights, but never float64.
at::ScalarType computing_dtype(ComputeDtype requested, const JsonReader& config, at::ScalarType stored);

/// The model_type of every supported family.
std::vector<std::string> known_families();

}  // namespace lora::models
