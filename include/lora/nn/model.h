#pragma once
#include <memory>
#include <string>
#include <vector>

#include "lora/nn/body.h"
#include "lora/nn/document_scorer.h"
#include "lora/nn/token_scorer.h"

namespace lora::nn {

class Denoiser;
class RowModel;

/// How large the base weights are.
struct BaseSize {
  int64_t values = 0;
  int64_t bytes = 0;  ///< in memory
};

/// A model as everything above nn/ sees it: a body, and what scores tokens or documents by its result. Not logits, so that an objective
/// can compute the loss in chunks and only at supervised positions.
struct Model {
  std::string family;  ///< transformers' model_type; "": none of its families
  std::unique_ptr<Body> body;
  std::unique_ptr<TokenScorer> tokens;        ///< null: it does not score tokens (an encoder, or a model whose head scores documents)
  std::unique_ptr<DocumentScorer> documents;  ///< null: it does not score documents

  /// The body as a network that takes whole rows; null: it takes something else.
  const RowModel* rows() const;
  /// The body as a network that removes noise from images; null: it is none.
  const Denoiser* denoiser() const;

  /// Every module that target_modules can name, in transformers' order; those of heads come last.
  std::vector<Host*> hosts() const;
  /// The places between modules where a method can attach something.
  std::vector<Host*> taps() const { return body->taps(); }
  /// Every base weight that is a tensor under its name in the checkpoint; a tied one once. The tensors are the model's own.
  std::vector<Parameter> base_parameters() const;
  /// No base weight gets a gradient any more.
  void freeze_base() const;
  /// The size of all base weights, including those that are not tensors (ops::LinearWeight).
  BaseSize base_size() const;
  /// The projection to the vocabulary; null: there is none.
  Linear* head() const { return tokens == nullptr ? nullptr : tokens->head(); }

  int64_t vocab_size() const { return body->vocab_size(); }
  at::ScalarType dtype() const { return body->dtype(); }
  at::Device device() const { return body->device(); }
};

}  // namespace lora::nn
