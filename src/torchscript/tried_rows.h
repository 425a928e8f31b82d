#pragma once
#include "lora/data/dataset.h"

namespace lora::torchscript {

/// What rows a network is tried on.
struct TriedRows {
  int64_t count = 8;
  int64_t length = 0;   ///< of documents, of which there are none longer
  int64_t num_ids = 0;  ///< of its table; 0: it has none
};

/// Some of the rows, no two alike as far as there are others, with as many targets as there are; where there are too few, others that are
/// made of them. Documents are of one length, and tokens that are learnt are one in every other of them, and all in the rest: so that what
/// holds for a mean over tokens does not for one over rows.
data::Dataset tried_rows(const data::Dataset& rows, const TriedRows& wanted);

/// A document of so many tokens, learnt ones among them as far as it has any: its last up to such a one, or all of it and again from its
/// beginning. A row of features as it is.
data::Example fitted(const data::Example& row, int64_t length);

/// Whether its tokens are what is learnt.
bool is_learnt(const data::Example& row);

}  // namespace lora::torchscript
