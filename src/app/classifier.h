#pragma once
#include <filesystem>
#include <map>
#include <string>

#include "lora/data/labels.h"
#include "lora/peft/options.h"

namespace lora::app {

/// config.json of a model that scores documents: the labels, and the class that transformers opens it with.
Json classifier_config(Json config, const data::LabelSet& labels);

/// What a model's folder says of its labels: config.json's names and kind, else as many as its head has; none: nothing. Names that
/// transformers gives by itself say nothing where there is no head. Throws model Error where head and names differ in number.
std::optional<data::LabelSet> known_labels(const std::filesystem::path& model_folder);

/// Whether an adapter's file says what its labels mean.
bool names_labels(const std::filesystem::path& adapter_folder);

/// What it says; none: it says nothing.
std::optional<data::LabelSet> stored_labels(const std::filesystem::path& adapter_folder);

/// The labels of an adapter with a classifier: as its file names them, else (PEFT's have no names) those of the model's folder if they
/// are as many as its classifier has, else so many without names. Throws model Error where there is no classifier in it.
data::LabelSet adapter_labels(const std::filesystem::path& adapter_folder, const std::filesystem::path& model_folder);

/// The names under which a model that scores documents is written: those of its family's files, but where they hold its body alone
/// and leave the module's name out, or have TensorFlow's names.
std::map<std::string, std::string> classifier_file_names(const std::map<std::string, std::string>& file_names);

}  // namespace lora::app
