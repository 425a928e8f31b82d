#pragma once
#include "lora/data/dataset.h"

namespace lora::torchscript {

/// The rows that a network is tried on.
struct TriedRows {
  int64_t count = 8;
  int64_t length = 0;   ///< of documents, at most that of the longest one
  int64_t num_ids = 0;  ///< ids in the network's table; 0: it has none
};

/// Some of the rows, distinct as far as possible, with as many different targets as there are. If there are too few, changed copies are
/// added. All documents have one length; every other one has a single supervised token and the rest have only supervised tokens, so that a
/// mean over tokens differs from a mean over rows.
data::Dataset tried_rows(const data::Dataset& rows, const TriedRows& needed);

/// A document cut or repeated to `length` tokens: the last ones up to a supervised token, or all of it and again from its beginning. A row
/// of features is unchanged.
data::Example fitted(const data::Example& row, int64_t length);

/// Whether its tokens are supervised.
bool is_supervised(const data::Example& row);

}  // namespace lora::torchscript
