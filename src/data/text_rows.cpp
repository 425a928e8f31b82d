#include "data/text_rows.h"

#include <string>
#include <utility>

namespace lora::data {
namespace {

/// Finds the documents of a .txt file: lines, paragraphs (lines without a blank line between them) or the whole file. The line ending
/// before a blank line or at the end of the file is not part of a document.
class TextFinder {
 public:
  TextFinder(LineReader& lines, TextDocuments documents, const PendingRowSink& sink) : lines_(lines), documents_(documents), sink_(sink) {}

  void find() {
    bool goes_on = true;
    while (goes_on) {
      const auto line = lines_.next();
      if (!line) {
        give();
        return;
      }
      const bool blank = is_blank(*line);
      if (!blank || (documents_ == TextDocuments::kFile && !text_.empty())) {
        add(*line);
      }
      if (documents_ == TextDocuments::kLine || (documents_ == TextDocuments::kParagraph && blank)) {
        goes_on = give();
      }
    }
  }

 private:
  void add(std::string_view line) {
    if (text_.empty()) {
      origin_ = lines_.origin();
      number_ = lines_.number();
    }
    text_ += without_cr(line);
    text_ += '\n';
  }

  /// Emits the collected text, if there is any. Returns false if reading should stop.
  bool give() {
    if (text_.empty()) {
      return true;
    }
    std::string text = std::exchange(text_, {});
    text.erase(text.find_last_not_of('\n') + 1);
    const size_t bytes = text.size();
    return sink_({[text = std::move(text), origin = origin_, number = number_] {
                    Row row{Json::object(), origin, false, number};
                    row.object["text"] = text;
                    return row;
                  },
                  bytes});
  }

  LineReader& lines_;
  TextDocuments documents_;
  const PendingRowSink& sink_;
  std::string text_;
  std::string origin_;  ///< of the text's first line
  int64_t number_ = 0;
};

}  // namespace

void find_text_rows(RowInput& input, const PendingRowSink& sink) {
  LineReader lines = input.lines();
  TextFinder(lines, input.documents(), sink).find();
}

}  // namespace lora::data
