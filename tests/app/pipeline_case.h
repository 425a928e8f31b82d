#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "lora/base/file.h"
#include "process.h"
#include "support/paths.h"
#include "tensor_file.h"

namespace lora::test {

/// A copy of a pipeline of tests/data/diffusion with its runs.
struct PipelineCase {
  TemporaryFolder scratch;
  std::string name;

  explicit PipelineCase(const std::string& family) : name(family) {
    fs::copy(kData / "diffusion" / family, scratch / family, fs::copy_options::recursive);
  }
  fs::path operator/(const std::string& file) const { return scratch / (name + "/" + file); }
  Outcome train(const std::string& run, const Arguments& more = {}) const {
    return lora_train(with({"--config", (*this / ("run_" + run + ".json")).string()}, more));
  }
  Arguments command(const std::string& run, const Arguments& more) const {
    return lora_train_command(with({"--config", (*this / ("run_" + run + ".json")).string()}, more));
  }
};

/// The largest value of an F32 tensor.
inline double largest_value(const StoredTensor& tensor) {
  double largest = 0;
  for (const float value : tensor.values()) {
    largest = std::max(largest, std::abs(static_cast<double>(value)));
  }
  return largest;
}

/// Compares what the run in out/ logged with expected_<run>.json.
inline void expect_reference_steps(const PipelineCase& own, const std::string& run) {
  const Json expected = Json::parse(read_text(own / ("expected_" + run + ".json")));
  const std::vector<Json> rows = read_rows(own / "out/metrics.jsonl");
  ASSERT_EQ(rows.size(), expected["steps"].size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const Json& step = expected["steps"][i];
    for (const auto& [key, relative] : {std::pair("loss", 1e-6), std::pair("learning_rate", 1e-6), std::pair("grad_norm", 1e-4)}) {
      EXPECT_NEAR(rows[i][key].get<double>(), step[key].get<double>(), relative * step[key].get<double>() + 1e-12)
          << own.name << " " << run << ": " << key << " of step " << i + 1;
    }
  }
  EXPECT_EQ(rows[4]["num_tokens"], 4) << "images";
}

/// Copies the rows of a case without `noise` and `timestep`.
inline void write_rows_to_draw_for(const PipelineCase& own) {
  std::string rows;
  fs::create_directories(own / "drawn");
  for (int i = 0; i < 10; ++i) {
    const std::string name = std::to_string(i) + ".safetensors";
    const std::string file = read_text(own / ("rows/" + name));
    uint64_t length = 0;
    std::memcpy(&length, file.data(), sizeof(length));
    const Json header = Json::parse(file.substr(sizeof(length), length));
    Json kept;
    std::string data;
    for (const auto& [key, value] : header.items()) {
      if (key != "noise" && key != "timestep" && key != "__metadata__") {
        const auto begin = value["data_offsets"][0].get<size_t>(), end = value["data_offsets"][1].get<size_t>();
        kept[key] = value;
        kept[key]["data_offsets"] = {data.size(), data.size() + end - begin};
        data += file.substr(sizeof(length) + length + begin, end - begin);
      }
    }
    const std::string text = kept.dump();
    const uint64_t size = text.size();
    write_text(own / ("drawn/" + name), std::string(reinterpret_cast<const char*>(&size), sizeof(size)) + text + data);
    rows += Json{{"file_name", "drawn/" + name}}.dump() + "\n";
  }
  write_text(own / "drawn.jsonl", rows);
}

}  // namespace lora::test
