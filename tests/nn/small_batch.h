#pragma once
#include "support/batches.h"

namespace lora::test {

/// Two documents, of two and three tokens of a vocabulary of 20.
inline const nn::Batch& small_batch() {
  static const nn::Batch batch = batch_of(documents_of({2, 3}, 20));
  return batch;
}

}  // namespace lora::test
