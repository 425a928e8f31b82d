#pragma once
#include <set>
#include <string>
#include <vector>

#include "data/source_plan.h"

namespace lora::data {

/// What the rows of a set's files have become: all that reading them gives, and all that a cache keeps.
struct RowSet {
  std::vector<Example> examples;
  RawLabels raw_labels;
  DataReport report;                                  ///< without skipped_origins
  std::vector<Origin> skipped;                        ///< the first ten rows without a supervised token
  std::vector<int64_t> rows_of_files;                 ///< of each planned file; -1 where limits were reached before it
  std::vector<std::set<std::string>> unused_columns;  ///< of each planned file
  std::vector<std::string> hashes;                    ///< SHA-256 of each file's bytes; empty where it was not read
};

/// Reads the files. Throws what load_dataset throws for a row, and Interrupted.
RowSet read_files(const std::string& name, const std::vector<SourceOptions>& sources, const std::vector<PlannedFile>& files,
                  const DataOptions& options, const LoadContext& context);

/// A file without rows is most likely a mistake.
void warn_if_empty(const PlannedFile& file, int64_t num_rows);

}  // namespace lora::data
