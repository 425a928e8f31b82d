// liblora_cuda_graph.so: LibTorch's CUDA graphs for programs that are built without CUDA. Up to LibTorch 2.15 only programs built with
// CUDA have them. The module registers itself when it is opened, after libtorch_cuda.so, whose symbols it uses.
#include <ATen/core/GraphImplInterface.h>
#include <ATen/cuda/CUDAGraph.h>

namespace at {
namespace {

cudaStreamCaptureMode mode_of(GraphCaptureMode mode) {
  switch (mode) {
    case GraphCaptureMode::ThreadLocal:
      return cudaStreamCaptureModeThreadLocal;
    case GraphCaptureMode::Relaxed:
      return cudaStreamCaptureModeRelaxed;
    case GraphCaptureMode::Default:
    case GraphCaptureMode::Global:
      break;
  }
  return cudaStreamCaptureModeGlobal;
}

class CudaGraph : public GraphImplInterface {
 public:
  explicit CudaGraph(const GraphImplArgs& args) : graph_(args.keep_graph) {}
  void capture_begin(MempoolId_t pool, GraphCaptureMode mode) override { graph_.capture_begin(pool, mode_of(mode)); }
  void capture_end() override { graph_.capture_end(); }
  void instantiate() override { graph_.instantiate(); }
  void replay() override { graph_.replay(); }
  void reset() override { graph_.reset(); }
  MempoolId_t pool() const override { return const_cast<cuda::CUDAGraph&>(graph_).pool(); }
  void enable_debug_mode() override {}
  void debug_dump(const std::string&) override {}  // not used

 private:
  cuda::CUDAGraph graph_;
};

REGISTER_GRAPH_IMPL(CUDA, CudaGraph)

}  // namespace
}  // namespace at
