#include "app/line_plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "app/text_table.h"

namespace lora::app {

namespace {

constexpr int kColumns = 64;
constexpr int kRows = 14;
constexpr double kWidth = 640, kHeight = 360, kLeft = 70, kRight = 20, kTop = 20, kBottom = 50;

/// Where a curve lies: its range on both axes.
struct Frame {
  explicit Frame(const LinePlot& plot)
      : first(std::log10(plot.x.front())),
        last(std::log10(plot.x.back())),
        low(*std::min_element(plot.y.begin(), plot.y.end())),
        high(*std::max_element(plot.y.begin(), plot.y.end())) {}

  /// From 0 at the left to 1 at the right.
  double across(double x) const { return last > first ? (std::log10(x) - first) / (last - first) : 0; }
  /// From 0 at the bottom to 1 at the top.
  double up(double y) const { return high > low ? (y - low) / (high - low) : 0; }

  double first, last, low, high;
};

/// Coordinates in the file of a position in the frame, from 0 to 1.
double left_of(double across) {
  return kLeft + across * (kWidth - kLeft - kRight);
}
double top_of(double up) {
  return kHeight - kBottom - up * (kHeight - kTop - kBottom);
}

std::string in_svg(double x, double y) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.1f,%.1f", left_of(x), top_of(y));
  return text.data();
}

std::string svg_text(double x, double y, const char* anchor, const std::string& text) {
  return "<text x=\"" + short_number(x) + "\" y=\"" + short_number(y) + "\" text-anchor=\"" + anchor + "\">" + text + "</text>\n";
}

std::string svg_line(const std::string& from, const std::string& to, const char* style) {
  return "<polyline fill=\"none\" " + std::string(style) + " points=\"" + from + " " + to + "\"/>\n";
}

/// Ticks at the powers of ten in the range.
std::string svg_ticks(const Frame& frame) {
  std::string ticks;
  for (int power = static_cast<int>(std::ceil(frame.first - 1e-9)); power <= frame.last + 1e-9; ++power) {
    const double across = frame.across(std::pow(10.0, power));
    ticks += svg_line(in_svg(across, 0), in_svg(across, 1), "stroke=\"#ddd\"");
    ticks += svg_text(left_of(across), kHeight - kBottom + 16, "middle", short_number(std::pow(10.0, power)));
  }
  for (const double share : {0.0, 0.5, 1.0}) {
    const double value = frame.low + share * (frame.high - frame.low);
    ticks += svg_text(kLeft - 6, top_of(share) + 4, "end", short_number(value, 4));
  }
  return ticks;
}

}  // namespace

std::string text_plot(const LinePlot& plot) {
  const Frame frame(plot);
  std::vector<std::string> canvas(kRows, std::string(kColumns, ' '));
  if (plot.marked_x > 0) {
    for (std::string& line : canvas) {
      line[std::lround(frame.across(plot.marked_x) * (kColumns - 1))] = ':';
    }
  }
  for (size_t i = 0; i < plot.x.size(); ++i) {
    canvas[kRows - 1 - std::lround(frame.up(plot.y[i]) * (kRows - 1))][std::lround(frame.across(plot.x[i]) * (kColumns - 1))] = '*';
  }
  std::string text = plot.y_name + "\n";
  for (int row = 0; row < kRows; ++row) {
    std::string label = row == 0 ? short_number(frame.high, 4) : row == kRows - 1 ? short_number(frame.low, 4) : "";
    label.insert(0, label.size() < 8 ? 8 - label.size() : 0, ' ');
    text += label + " |" + canvas[row].substr(0, canvas[row].find_last_not_of(' ') + 1) + "\n";
  }
  const std::string left = short_number(plot.x.front(), 3), right = short_number(plot.x.back(), 3);
  const size_t gap = kColumns > left.size() + right.size() ? kColumns - left.size() - right.size() : 1;
  return text + "         +" + std::string(kColumns, '-') + "\n" + std::string(10, ' ') + left + std::string(gap, ' ') + right + "  " +
         plot.x_name + "\n";
}

std::string svg_plot(const LinePlot& plot) {
  const Frame frame(plot);
  std::string points;
  for (size_t i = 0; i < plot.x.size(); ++i) {
    points += (i == 0 ? "" : " ") + in_svg(frame.across(plot.x[i]), frame.up(plot.y[i]));
  }
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 360\" font-family=\"sans-serif\" font-size=\"12\">\n";
  svg += "<rect width=\"640\" height=\"360\" fill=\"white\"/>\n" + svg_ticks(frame);
  if (plot.marked_x > 0) {
    const double across = frame.across(plot.marked_x);
    svg += svg_line(in_svg(across, 0), in_svg(across, 1), "stroke=\"#c33\" stroke-dasharray=\"4 3\"");
    svg += svg_text(left_of(across), kTop - 6, "middle", short_number(plot.marked_x, 3));
  }
  svg += "<polyline fill=\"none\" stroke=\"#226\" stroke-width=\"2\" points=\"" + points + "\"/>\n";
  svg += svg_text(kWidth / 2, kHeight - 12, "middle", plot.x_name);
  svg += "<text x=\"14\" y=\"180\" text-anchor=\"middle\" transform=\"rotate(-90 14 180)\">" + plot.y_name + "</text>\n";
  return svg + "</svg>\n";
}

}  // namespace lora::app
