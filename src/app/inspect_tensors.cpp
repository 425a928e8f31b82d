#include "app/inspect_tensors.h"

#include <algorithm>

#include "app/text_table.h"
#include "lora/base/counted.h"
#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/io/safetensors.h"

namespace lora::app {

int64_t TensorFacts::num_elements() const {
  int64_t elements = 1;
  for (const int64_t size : shape) {
    elements *= size;
  }
  return elements;
}

std::vector<TensorFacts> read_tensor_facts(const std::filesystem::path& file) {
  const MappedFile map(file, ErrorKind::kModel);
  const io::Header header = io::parse_header({reinterpret_cast<const char*>(map.data()), map.size()}, file.string());
  std::vector<TensorFacts> tensors;
  for (const io::TensorEntry& entry : header.tensors) {
    tensors.push_back({entry.name, entry.dtype_name, entry.shape, static_cast<int64_t>(entry.end - entry.begin)});
  }
  return tensors;
}

bool is_number(const std::string& part) {
  return !part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::string name_pattern(const std::string& name) {
  std::vector<std::string> parts = split(name, '.');
  for (std::string& part : parts) {
    part = is_number(part) ? "*" : part;
  }
  return join(parts, ".");
}

Json grouped_tensors(const std::vector<TensorFacts>& tensors) {
  Json groups = Json::array();
  for (const TensorFacts& tensor : tensors) {
    const std::string pattern = name_pattern(tensor.name);
    const auto same = std::find_if(groups.begin(), groups.end(), [&](const Json& group) {
      return group["pattern"] == pattern && group["dtype"] == tensor.dtype && group["shape"] == Json(tensor.shape);
    });
    if (same == groups.end()) {
      groups.push_back({{"pattern", pattern}, {"count", 1}, {"shape", tensor.shape}, {"dtype", tensor.dtype}});
    } else {
      (*same)["count"] = (*same)["count"].get<int64_t>() + 1;
    }
  }
  return groups;
}

Json dtype_counts(const std::vector<TensorFacts>& tensors) {
  Json counts = Json::object();
  for (const TensorFacts& tensor : tensors) {
    Json& entry = counts.emplace(tensor.dtype, Json{{"tensors", 0}, {"parameters", 0}}).first.value();
    entry["tensors"] = entry["tensors"].get<int64_t>() + 1;
    entry["parameters"] = entry["parameters"].get<int64_t>() + tensor.num_elements();
  }
  return counts;
}

int64_t num_elements(const std::vector<TensorFacts>& tensors) {
  int64_t sum = 0;
  for (const TensorFacts& tensor : tensors) {
    sum += tensor.num_elements();
  }
  return sum;
}

int64_t num_parameters(const std::vector<TensorFacts>& tensors) {
  int64_t sum = 0;
  for (const TensorFacts& tensor : tensors) {
    sum += tensor.dtype == "I64" || tensor.dtype == "BOOL" ? 0 : tensor.num_elements();
  }
  return sum;
}

std::string grouped_text(const Json& groups) {
  TextTable table;
  table.add({"tensors", "count", "shape", "dtype"});
  for (const Json& group : groups) {
    table.add({printable(group["pattern"].get<std::string>(), 120), group["count"].dump(), group["shape"].dump(),
               group["dtype"].get<std::string>()});
  }
  return table.text();
}

std::string dtype_text(const Json& counts) {
  std::vector<std::string> parts;
  for (const auto& [dtype, count] : counts.items()) {
    parts.push_back(with_thousands(count["tensors"].get<int64_t>()) + " " + dtype);
  }
  return join(parts);
}

Json tensor_file_facts(const std::filesystem::path& file) {
  const MappedFile map(file, ErrorKind::kModel);
  const io::Header header = io::parse_header({reinterpret_cast<const char*>(map.data()), map.size()}, file.string());
  const std::vector<TensorFacts> tensors = read_tensor_facts(file);
  Json list = Json::array();
  for (const TensorFacts& tensor : tensors) {
    list.push_back({{"name", tensor.name}, {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"bytes", tensor.bytes}});
  }
  return {{"kind", "tensors"},
          {"path", file.string()},
          {"size", map.size()},
          {"num_parameters", num_elements(tensors)},
          {"dtypes", dtype_counts(tensors)},
          {"metadata", header.metadata},
          {"tensors", list}};
}

std::string tensor_file_text(const Json& facts, bool) {
  std::string text = "file         " + facts["path"].get<std::string>() + "\nsize         " +
                     with_thousands(facts["num_parameters"].get<int64_t>()) + " values in " +
                     counted(static_cast<int64_t>(facts["tensors"].size()), "tensor") + " (" + dtype_text(facts["dtypes"]) + "), " +
                     human_bytes(facts["size"].get<int64_t>()) + "\n";
  for (const auto& [key, value] : facts["metadata"].items()) {
    text += "metadata     " + printable(key) + " = " + printable(value.get<std::string>(), 100) + "\n";
  }
  TextTable table;
  table.add({"tensor", "shape", "dtype"});
  for (const Json& tensor : facts["tensors"]) {
    table.add({printable(tensor["name"].get<std::string>(), 120), tensor["shape"].dump(), tensor["dtype"].get<std::string>()});
  }
  return text + "\n" + table.text();
}

}  // namespace lora::app
