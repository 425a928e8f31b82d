#pragma once
#include <map>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/io/weight_source.h"
#include "lora/models/family_files.h"

namespace lora::models {

/// What a model's folder holds, in terms of its family's modules. Every program that reads a base reads it through this, so that a
/// folder means the same to all of them.
struct CheckpointLayout {
  FamilyFiles files;                               ///< of a family that is not known: what most have
  bool is_known = false;                           ///< the family is one of ours
  std::map<std::string, std::string> file_names;   ///< of every tensor, by the model's names
  std::map<std::string, std::string> model_names;  ///< the other way round
  bool is_tied = false;                            ///< the head over the vocabulary is the embedding
  std::string packed;                              ///< a tensor of quantised weights and its dtype; empty: there is none
  std::vector<std::string> notes;                  ///< what was odd, a line each

  /// The model's name of a tensor in the file.
  const std::string& name_of(const std::string& file_name) const;
  /// The names that weights have when they are written again, by the model's, where these differ: the file's, but for wrappers.
  std::map<std::string, std::string> written_names() const;
};

/// @param config config.json. Throws model Error for a key of the wrong type.
CheckpointLayout read_layout(const io::CheckpointSource& source, const JsonReader& config);

/// What config.json alone says, of a folder whose weights are not needed.
CheckpointLayout layout_without_weights(const JsonReader& config);

/// Throws model Error if the weights are quantised.
void refuse_packed(const CheckpointLayout& layout, const JsonReader& config);

/// Warns of each note, with the folder before it.
void warn_of_notes(const CheckpointLayout& layout, const std::string& folder);

/// config.json as it must be written beside the weights as they were read: untied, and without a quantization_config that no longer
/// means anything.
Json settled_config(Json config, const CheckpointLayout& layout);

}  // namespace lora::models
