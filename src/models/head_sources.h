#pragma once
#include <string>
#include <vector>

#include "lora/io/weight_source.h"

namespace lora::models {

/// A source without the head over the vocabulary, for a model that scores documents.
class HeadlessSource : public io::WeightSource {
 public:
  explicit HeadlessSource(io::WeightSource& source) : source_(source) {}

  io::StoredWeight weight(const std::string& name, const std::vector<int64_t>& shape, io::WeightRole role) override {
    return source_.weight(name, shape, role);
  }
  bool contains(const std::string& name) const override {
    return name != "lm_head.weight" && source_.contains(name);
  }
  std::vector<std::string> unused() const override { return source_.unused(); }
  void release(const std::string& name) const override { source_.release(name); }

 private:
  io::WeightSource& source_;
};

/// A source that provides random values for what another lacks, as transformers initialises a head.
class CompletedSource : public io::WeightSource {
 public:
  CompletedSource(io::WeightSource& source, uint64_t seed, double initializer_range) : source_(source), random_(seed, initializer_range) {}

  io::StoredWeight weight(const std::string& name, const std::vector<int64_t>& shape, io::WeightRole role) override {
    if (source_.contains(name)) {
      return source_.weight(name, shape, role);
    }
    created_.push_back(name);
    return random_.weight(name, shape, role);
  }
  bool contains(const std::string& name) const override { return true; }
  std::vector<std::string> unused() const override { return source_.unused(); }
  /// The names that it provided random values for.
  const std::vector<std::string>& created() const { return created_; }

 private:
  io::WeightSource& source_;
  io::RandomSource random_;
  std::vector<std::string> created_;
};

}  // namespace lora::models
