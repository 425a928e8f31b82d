#pragma once
#include <string>
#include <vector>

#include "config/findings.h"

namespace lora::config {

/// A key of the run's config and the values that a sweep tries, each as in --set: JSON, or else a string.
struct SweptKey {
  std::string key;
  std::vector<std::string> values;
};

/// Reads "--sweep adapter.r=1,2,4". Commas inside of brackets and quotes belong to a value. A key outside of `adapter` and `training`, of
/// which all runs must have the same, is reported, and so is a key or a value that occurs twice.
std::vector<SweptKey> read_sweeps(const std::vector<std::string>& flags, Findings& findings);

/// One combination of the values of all keys: a setting "key=value" for each key.
using SweepPoint = std::vector<std::string>;

/// All combinations; the values of the last key change first.
std::vector<SweepPoint> sweep_points(const std::vector<SweptKey>& keys);

/// The names of the points' folders, such as "r=4,learning_rate=0.001": each key by its last part where that is unambiguous, and no
/// character that a shell treats specially.
std::vector<std::string> sweep_names(const std::vector<SweepPoint>& points);

}  // namespace lora::config
