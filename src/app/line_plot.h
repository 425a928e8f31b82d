#pragma once
#include <string>
#include <vector>

namespace lora::app {

/// A curve over a logarithmic axis. `x` ascending and positive, as many as `y`.
struct LinePlot {
  std::string x_name;
  std::string y_name;
  std::vector<double> x;
  std::vector<double> y;
  double marked_x = 0;  ///< a value of x to mark; 0: none
};

/// The curve in characters, for a terminal.
std::string text_plot(const LinePlot& plot);

/// The curve as an SVG file.
std::string svg_plot(const LinePlot& plot);

}  // namespace lora::app
