#include "tokenizer/json/cutting.h"

#include <algorithm>

namespace lora::tokenizer {
namespace {

struct Segment {
  size_t begin;
  size_t end;
  bool is_match;
};

/// The whole piece as matches and the parts between them.
std::vector<Segment> segments_of(size_t size, const std::vector<Span>& matches, bool invert) {
  std::vector<Segment> segments;
  size_t done = 0;
  for (const Span& match : matches) {
    if (match.begin != done) {
      segments.push_back({done, match.begin, invert});
    }
    segments.push_back({match.begin, match.end, !invert});
    done = match.end;
  }
  if (done != size) {
    segments.push_back({done, size, invert});
  }
  return segments;
}

/// Appends each match to the segment before it, unless that is also a match.
std::vector<Segment> merged_with_previous(const std::vector<Segment>& segments) {
  std::vector<Segment> merged;
  bool after_match = false;
  for (const Segment& segment : segments) {
    if (segment.is_match && !after_match && !merged.empty()) {
      merged.back().begin = std::min(merged.back().begin, segment.begin);
      merged.back().end = std::max(merged.back().end, segment.end);
    } else {
      merged.push_back(segment);
    }
    after_match = segment.is_match;
  }
  return merged;
}

std::vector<Segment> contiguous(const std::vector<Segment>& segments) {
  std::vector<Segment> merged;
  for (const Segment& segment : segments) {
    if (!merged.empty() && segment.is_match == merged.back().is_match) {
      merged.back().end = segment.end;
    } else {
      merged.push_back(segment);
    }
  }
  return merged;
}

std::vector<Segment> arranged(std::vector<Segment> segments, CutBehavior behavior) {
  switch (behavior) {
    case CutBehavior::kIsolated:
      return segments;
    case CutBehavior::kRemoved:
      std::erase_if(segments, [](const Segment& segment) { return segment.is_match; });
      return segments;
    case CutBehavior::kContiguous:
      return contiguous(segments);
    case CutBehavior::kMergedWithPrevious:
      return merged_with_previous(segments);
    case CutBehavior::kMergedWithNext:
      std::reverse(segments.begin(), segments.end());
      segments = merged_with_previous(segments);
      std::reverse(segments.begin(), segments.end());
      return segments;
  }
  return segments;
}

}  // namespace

TextPiece part_of(const TextPiece& piece, size_t begin, size_t end) {
  return {piece.text.substr(begin, end - begin), piece.num_first > begin ? piece.num_first - begin : 0};
}

void cut(const TextPiece& piece, const std::vector<Span>& matches, CutBehavior behavior, bool invert, Pieces& parts) {
  for (const Segment& segment : arranged(segments_of(piece.text.size(), matches, invert), behavior)) {
    if (segment.end > segment.begin) {
      parts.push_back(part_of(piece, segment.begin, segment.end));
    }
  }
}

}  // namespace lora::tokenizer
