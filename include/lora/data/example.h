#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace lora::data {

/// The source of a document. Documents of one file share its name.
struct Origin {
  std::shared_ptr<const std::string> file;
  int64_t line = 0;  ///< 0: the whole file

  std::string text() const;  ///< "file:line", or "file"
};

/// A compact form of a document's labels: the borders of the supervised ranges if every supervised label is the id at its position.
struct Labelling {
  /// Positions where supervision ends and starts again, alternately, starting supervised at position 0. Empty: everything is
  /// supervised; {0, 5}: everything from position 5 on. With `own`: the labels themselves.
  std::vector<int32_t> values;
  bool own = false;
};

/// A document with a label for each of its tokens: a text, a conversation, a row of ids. A set may hold millions, so labels are stored
/// as a Labelling.
struct TokenDocument {
  std::vector<int32_t> ids;
  Labelling labelling;

  TokenDocument() = default;
  /// As many labels as ids, not shifted, nn::kIgnoreLabel where not supervised.
  TokenDocument(std::vector<int32_t> ids, const std::vector<int32_t>& labels);

  std::vector<int32_t> labels() const;
  int32_t label(size_t position) const;
  /// Number of labels that are predicted, so without the first position.
  int64_t num_supervised() const;
};

/// Documents that are compared with each other, such as a chosen and a rejected answer. As one example they are always in the same pass:
/// nothing that divides or joins examples can separate them.
struct DocumentGroup {
  std::vector<TokenDocument> documents;  ///< at least one
};

/// A text, or a pair of texts, with one label as a whole.
struct LabelledText {
  std::vector<int32_t> ids;
  int32_t second_text = 0;      ///< where the second of two texts begins; 0: there is one
  std::optional<double> label;  ///< as Example::target
};

/// A row of numbers for a network that is not a language model.
struct FeatureRow {
  std::vector<int64_t> shape;                                       ///< of the features; empty: one number
  std::vector<float> features;                                      ///< row by row
  std::variant<std::monostate, double, std::vector<float>> target;  ///< none, as Example::target, or several values of a regression

  /// The list of values to predict; null: the target is one number, or there is none.
  const std::vector<float>* values() const { return std::get_if<std::vector<float>>(&target); }
};

/// An image for a network that removes noise from it. Only where its tensors lie is in memory: they are read whenever a batch is made.
/// Two safetensors files, which may be one, hold them under these names, in any dtype of plain numbers:
///   image_file  `latents` [C, H, W], scaled as the network takes them; or `mean` and `log_variance` [C, H, W] of the posterior of such
///               latents, from which each use draws. Where a row fixes them: `noise` [C, H, W], `timestep` [] (an integer).
///   text_file   `encoder_hidden_states` [S, D], and `pooled` [P] if the network takes pooled text.
struct ImageRow {
  std::shared_ptr<const std::string> image_file;
  std::shared_ptr<const std::string> text_file;
  std::array<int64_t, 3> latents{};  ///< C, H, W
  std::array<int64_t, 2> states{};   ///< S, D
  int64_t pooled = 0;                ///< P; 0: none
  bool is_posterior = false;         ///< image_file has `mean` and `log_variance`
  bool has_noise = false;            ///< image_file has `noise`
  std::optional<int64_t> timestep;   ///< none: each use draws one
  /// Original height and width, top and left of the crop, target height and width (SDXL); none: the network does not take them.
  std::optional<std::array<float, 6>> time_ids;
  bool is_prior = false;                 ///< of the class in general (prior preservation): the loss has training.prior_loss_weight
  std::shared_ptr<const std::string> caption;  ///< for reports; null: not known

  /// Images of one batch are equal in this.
  std::pair<std::array<int64_t, 3>, std::array<int64_t, 2>> size() const { return {latents, states}; }
};

/// What a row is for training: its content, where it comes from, and how often it is used.
struct Example {
  using Content = std::variant<TokenDocument, LabelledText, FeatureRow, DocumentGroup, ImageRow>;

  Content content;
  Origin origin;
  double weight = 1.0;         ///< expected uses in an epoch
  bool continues_row = false;  ///< a further part of the previous example's row
  /// Another form of the previous example (a mirrored image, another caption): a use of the row is one of its forms, chosen by their
  /// weights, of which the sum is the row's.
  bool is_form = false;

  Example() = default;
  explicit Example(Content content) : content(std::move(content)) {}
  Example(std::vector<int32_t> ids, const std::vector<int32_t>& labels) : content(TokenDocument(std::move(ids), labels)) {}

  /// Number of documents in a batch: 1, except for a group.
  size_t num_documents() const;
  /// The tokens of a document; none for features and images.
  const std::vector<int32_t>& ids(size_t document = 0) const;
  /// Its size in a batch: the tokens of all documents, 1 for a row of features, and the places H * W of an image's latents.
  int64_t num_tokens() const;
  /// Those of the longest document.
  int64_t longest_document() const;
  /// The content of a row of features; null for any other.
  const FeatureRow* features() const { return std::get_if<FeatureRow>(&content); }
  /// The content of an image; null for any other.
  const ImageRow* image() const { return std::get_if<ImageRow>(&content); }
  /// The label of each token of a document, not shifted; nn::kIgnoreLabel where there is none.
  std::vector<int32_t> labels(size_t document = 0) const;
  int32_t label(size_t position, size_t document = 0) const;

  /// The label as a whole, if it is one number: what it means is in Dataset::labels.
  std::optional<double> target() const;
  void set_target(double number);
  /// The numbers in its label as a whole: 1, or as many as in a list of values; 0: it has none.
  size_t num_target_values() const;
  bool has_target() const { return num_target_values() > 0; }
  /// Number of labels that are predicted: of the tokens of all documents; 1 for a text with a label, a row of features and an image.
  int64_t num_supervised() const;
  /// Number of documents whose first token has a label. It is predicted only if an adapter puts virtual tokens before the document.
  int64_t num_first_supervised() const;
};

}  // namespace lora::data
