#pragma once
#include <map>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/io/checkpoint.h"
#include "lora/models/family_files.h"

namespace lora::models {

/// The contents of a model's folder in terms of its family's modules. Every program that reads a base model reads it through this, so
/// that a folder means the same to all of them.
struct CheckpointLayout {
  FamilyFiles files;                               ///< for an unknown family: what most families have
  bool is_known = false;                           ///< the family is supported
  std::map<std::string, std::string> file_names;   ///< the name in the file of every tensor, by the model's name
  std::map<std::string, std::string> model_names;  ///< the reverse
  bool is_tied = false;                            ///< the head over the vocabulary is the embedding
  std::string unreadable;                          ///< a tensor of weights quantised in an unknown way, and its dtype; empty: none
  std::vector<std::string> notes;                  ///< anything unusual, one line each

  /// The model's name of a tensor in a file.
  const std::string& name_of(const std::string& file_name) const;
  /// The names under which weights are saved, by the model's names, where these differ: the file's, without those of wrappers.
  std::map<std::string, std::string> written_names() const;
};

/// @param config config.json. Throws model Error for a key of the wrong type.
CheckpointLayout read_layout(const io::Checkpoint& source, const JsonReader& config);

/// What config.json alone determines, for a folder whose weights are not needed.
CheckpointLayout layout_without_weights(const JsonReader& config);

/// Throws model Error if the weights are quantised in a way that is not known.
void require_readable(const CheckpointLayout& layout, const JsonReader& config);

/// Warns of each note, naming the folder.
void warn_of_notes(const CheckpointLayout& layout, const std::string& folder);

/// config.json as it must be saved with the weights that were read: untied, and without a quantization_config that no longer
/// applies.
Json settled_config(Json config, const CheckpointLayout& layout);

}  // namespace lora::models
