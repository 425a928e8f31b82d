#include "config/sweep.h"

#include <algorithm>
#include <map>

#include "lora/base/text.h"

namespace lora::config {

namespace {

/// More runs than this are probably a mistake.
constexpr size_t kMaxRuns = 1000;
/// Longest name of a folder without its number.
constexpr size_t kMaxName = 100;

/// Where a list of values has commas between its values: outside of brackets and strings.
std::vector<std::string> split_values(const std::string& list) {
  std::vector<std::string> values(1);
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < list.size(); ++i) {
    const char c = list[i];
    if (in_string && c == '\\' && i + 1 < list.size()) {
      values.back() += c;
      values.back() += list[++i];
      continue;
    }
    in_string = c == '"' ? !in_string : in_string;
    if (!in_string) {
      depth += (c == '[' || c == '{') - (c == ']' || c == '}');
    }
    if (c == ',' && depth == 0 && !in_string) {
      values.emplace_back();
    } else {
      values.back() += c;
    }
  }
  for (std::string& value : values) {
    value = trim(value);
  }
  return values;
}

bool is_swept(const std::string& key) {
  return key == "adapter" || starts_with_any(key, {"adapter.", "training."});
}

std::string key_of(const std::string& setting) {
  return setting.substr(0, setting.find('='));
}

/// A value as part of the name of a folder. "[" and quotes are left out; everything else that is special becomes "_".
std::string plain_characters(const std::string& value) {
  std::string plain;
  for (const char c : value) {
    const bool is_plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string("._+-").find(c) != std::string::npos;
    if (is_plain) {
      plain += c;
    } else if (std::string("[]{}\" ").find(c) == std::string::npos) {
      plain += '_';
    }
  }
  return plain;
}

std::string name_of_point(const SweepPoint& point, const std::map<std::string, int>& uses) {
  std::vector<std::string> parts;
  for (const std::string& setting : point) {
    const std::string key = key_of(setting);
    const std::string last = key.substr(key.rfind('.') + 1);
    parts.push_back((uses.at(last) > 1 ? key : last) + "=" + plain_characters(setting.substr(key.size() + 1)));
  }
  return join(parts, ",").substr(0, kMaxName);
}

void check_values(const SweptKey& swept, const std::string& where, Findings& findings) {
  for (size_t i = 0; i < swept.values.size(); ++i) {
    if (swept.values[i].empty()) {
      findings.add(where, "has an empty value: expected values with commas between them, such as adapter.r=4,8,16");
    } else if (std::find(swept.values.begin(), swept.values.begin() + static_cast<std::ptrdiff_t>(i), swept.values[i]) !=
               swept.values.begin() + static_cast<std::ptrdiff_t>(i)) {
      findings.add(where, "has the value " + printable(swept.values[i]) + " twice");
    }
  }
}

}  // namespace

std::vector<SweptKey> read_sweeps(const std::vector<std::string>& flags, Findings& findings) {
  std::vector<SweptKey> keys;
  size_t runs = 1;
  for (const std::string& flag : flags) {
    const std::string where = "--sweep " + printable(flag);
    const size_t equals = flag.find('=');
    const std::string key = flag.substr(0, equals);
    if (equals == std::string::npos) {
      findings.add(where, "is not a list of values, expected a key and its values, such as adapter.r=4,8,16");
    } else if (!is_swept(key)) {
      findings.add(where, "the runs of a sweep share model and data: found the key '" + printable(key) +
                              "', expected one of adapter or training");
    } else if (std::any_of(keys.begin(), keys.end(), [&key](const SweptKey& other) { return other.key == key; })) {
      findings.add(where, "occurs twice, expected all values of a key in one --sweep");
    } else {
      keys.push_back({key, split_values(flag.substr(equals + 1))});
      check_values(keys.back(), where, findings);
      runs *= keys.back().values.size();
    }
    if (runs > kMaxRuns) {
      findings.add(where, "makes too many runs: found " + std::to_string(runs) + ", expected at most " + std::to_string(kMaxRuns));
      return {};
    }
  }
  return keys;
}

std::vector<SweepPoint> sweep_points(const std::vector<SweptKey>& keys) {
  std::vector<SweepPoint> points(1);
  for (const SweptKey& swept : keys) {
    std::vector<SweepPoint> longer;
    for (const SweepPoint& point : points) {
      for (const std::string& value : swept.values) {
        longer.push_back(point);
        longer.back().push_back(swept.key + "=" + value);
      }
    }
    points = std::move(longer);
  }
  return points;
}

std::vector<std::string> sweep_names(const std::vector<SweepPoint>& points) {
  std::map<std::string, int> uses;
  for (const std::string& setting : points.front()) {
    const std::string key = key_of(setting);
    ++uses[key.substr(key.rfind('.') + 1)];
  }
  std::vector<std::string> names;
  for (const SweepPoint& point : points) {
    std::string name = name_of_point(point, uses);
    while (std::find(names.begin(), names.end(), name) != names.end()) {
      name += "." + std::to_string(names.size());
    }
    names.push_back(std::move(name));
  }
  return names;
}

}  // namespace lora::config
