#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/models/options.h"
#include "lora/nn/model.h"

namespace lora::models {

/// Asks for a head that scores documents, in place of the one over the vocabulary.
struct SequenceHeadRequest {
  std::optional<int64_t> num_labels;  ///< none: as many as the folder's own head has
};

/// A base model as loaded: frozen, on its device.
struct BaseModel {
  std::unique_ptr<nn::Model> model;
  Json config;                               ///< config.json, with tie_word_embeddings as the weights are
  std::string model_type;                    ///< its family's name
  std::vector<std::filesystem::path> files;  ///< config.json and the weights' files (hashes)
  /// The names that the weights have when they are written again, where these are not the model's.
  std::map<std::string, std::string> file_names;
  /// Weights of the head that the folder does not hold: they are random, by the seed.
  std::vector<std::string> created;
  /// Keys of config.json that its family neither reads nor knows to change nothing, as paths ("rope_parameters.factor").
  std::vector<std::string> unread_keys;
  std::string fingerprint;  ///< io::CheckpointSource::fingerprint(); empty from scratch
};

/// Loads the folder of `options`, or makes random weights of its config.json's shape (`from_scratch`, by `seed`).
/// Throws model Error for a folder that is none, an unknown model_type (lists the known), a weight that is missing, has
/// another shape or holds a non-finite value, and a model without the head that is wanted: over the vocabulary, or with `head` the
/// one that scores documents, of which the folder may lack weights. Weights and keys that the family does not know are warned of,
/// and so is what CheckpointLayout notes.
BaseModel load_base_model(const ModelOptions& options, uint64_t seed, const std::optional<SequenceHeadRequest>& head = std::nullopt);

/// vocab_size of the model in `folder`, by its config.json.
int64_t read_vocab_size(const std::filesystem::path& folder);

/// The dtype that is asked for; none for auto.
std::optional<at::ScalarType> scalar_type(ComputeDtype dtype);

/// The model_type of every family there is.
std::vector<std::string> known_families();

}  // namespace lora::models
