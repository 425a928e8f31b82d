#pragma once
#include <filesystem>
#include <map>
#include <string>

#include "lora/data/labels.h"
#include "lora/peft/options.h"

namespace lora::app {

/// The config.json of a classifier: `config` with its labels and the class with which transformers loads it.
Json classifier_config(Json config, const data::LabelSet& labels);

/// The labels of a model folder: from config.json, else numbered by the size of the stored head; none if there is neither. Default names
/// (LABEL_0, …) without a stored head do not count. Throws model Error if the head and the names differ in number.
std::optional<data::LabelSet> known_labels(const std::filesystem::path& model_folder);

/// Whether an adapter's metadata describes its labels.
bool names_labels(const std::filesystem::path& adapter_folder);

/// The labels in an adapter's metadata, if there are any.
std::optional<data::LabelSet> stored_labels(const std::filesystem::path& adapter_folder);

/// The labels of an adapter with a classifier: from its metadata, else (as for PEFT's adapters, which have no names) from the model folder
/// if their number fits the classifier, else numbered. Throws model Error if the adapter has no classifier.
data::LabelSet adapter_labels(const std::filesystem::path& adapter_folder, const std::filesystem::path& model_folder);

/// The tensor names for saving a classifier: those of the base model's files, except where they are the body's names without the
/// module prefix or TensorFlow's names.
std::map<std::string, std::string> classifier_file_names(const std::map<std::string, std::string>& file_names);

}  // namespace lora::app
