#include "lora/nn/device_graph.h"

#include "lora/base/error.h"

#if __has_include(<ATen/core/GraphImplInterface.h>)
#include <ATen/core/GraphImplInterface.h>
#include <c10/core/StreamGuard.h>
#include <dlfcn.h>

#include "lora/base/own_library.h"
#include "lora/ops/streams.h"
#endif

namespace lora::nn {

namespace {

[[noreturn]] void no_graphs(const std::string& why) {
  config_error("training.cuda_graphs", "CUDA graphs are not available: " + why + ". Use false.");
}

}  // namespace

#if __has_include(<ATen/core/GraphImplInterface.h>)

namespace {

/// LibTorch's CUDA graphs, reached without a CUDA header. They are recorded on a stream and in a memory pool of their own.
class RecordedGraph : public DeviceGraph {
 public:
  explicit RecordedGraph(at::Device device) : stream_(ops::other_stream(device)), graph_(at::create_graph_impl(device.type())) {}

  void warm_up(const std::function<void()>& work) override { in_own_stream(work); }

  void record(const std::function<void()>& work) override {
    in_own_stream([&] {
      // Other threads may continue, such as the one that prepares the next batch.
      graph_->capture_begin({0, 0}, at::GraphCaptureMode::ThreadLocal);
      try {
        work();
      } catch (...) {
        abandon();
        throw;
      }
      graph_->capture_end();
    });
  }

  void replay() override { graph_->replay(); }

 private:
  void in_own_stream(const std::function<void()>& work) const {
    const c10::Stream outer = ops::current_stream(stream_.device());
    ops::follow(stream_, outer);
    try {
      const c10::StreamGuard in_stream(stream_);
      work();
    } catch (...) {
      ops::follow(outer, stream_);  // kernels that were started may still read what the caller frees
      throw;
    }
    ops::follow(outer, stream_);
  }

  /// Ends a recording that failed; the failure has been reported.
  void abandon() {
    try {
      graph_->capture_end();
    } catch (const c10::Error&) {
    }
  }

  c10::Stream stream_;
  std::unique_ptr<at::GraphImplInterface> graph_;
};

}  // namespace

std::unique_ptr<DeviceGraph> make_device_graph(at::Device device) {
  if (!device.is_cuda()) {
    no_graphs("the model is on " + device.str() + ", expected CUDA");
  }
  if (!at::has_graph_impl(device.type()) && dlopen(own_library("liblora_cuda_graph.so").c_str(), RTLD_NOW) == nullptr) {
    no_graphs(dlerror());
  }
  return std::make_unique<RecordedGraph>(device);
}

#else

std::unique_ptr<DeviceGraph> make_device_graph(at::Device) {
  no_graphs("this LibTorch offers them only to programs that are built for CUDA (it has no ATen/core/GraphImplInterface.h)");
}

#endif

}  // namespace lora::nn
