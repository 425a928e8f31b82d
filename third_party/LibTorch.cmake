# LibTorch 2.11 to 2.15 from the torch wheel (or a LibTorch zip). The imported targets are defined here because the wheel's
# find_package(Torch) requires a whole CUDA toolkit, which a CPU build does not need.
#   LibTorch::torch   c10 + torch_cpu; CUDA is loaded at run time (nn/device)
function(lora_find_libtorch)
  set(candidates ${LIBTORCH_ROOT})
  if(NOT candidates)
    find_program(LORA_PYTHON NAMES python3 python)
    if(LORA_PYTHON)
      execute_process(COMMAND ${LORA_PYTHON} -c
        "import importlib.util as u; s = u.find_spec('torch'); print(list(s.submodule_search_locations)[0] if s else '', end='')"
        OUTPUT_VARIABLE from_python ERROR_QUIET)
      list(APPEND candidates ${from_python})
    endif()
    list(APPEND candidates ${PROJECT_SOURCE_DIR}/.deps/torch/torch)
  endif()
  foreach(root ${candidates})
    if(EXISTS ${root}/lib/libtorch_cpu.so AND EXISTS ${root}/include/ATen/core/Tensor.h)
      set(LORA_LIBTORCH ${root} PARENT_SCOPE)
      return()
    endif()
  endforeach()
  message(FATAL_ERROR "LibTorch not found. Run ./scripts/build.sh, which installs it into .deps/, or pass -DLIBTORCH_ROOT=<folder with include/ and lib/>. Looked in: ${candidates}")
endfunction()

lora_find_libtorch()
file(STRINGS ${LORA_LIBTORCH}/include/torch/headeronly/version.h torch_version_lines REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*PATCH ([0-9]+).*" "\\1.\\2.\\3" LORA_TORCH_VERSION "${torch_version_lines}")
message(STATUS "LibTorch ${LORA_TORCH_VERSION} at ${LORA_LIBTORCH}")
if(LORA_TORCH_VERSION VERSION_LESS 2.11 OR LORA_TORCH_VERSION VERSION_GREATER_EQUAL 2.16)
  message(FATAL_ERROR "LibTorch ${LORA_TORCH_VERSION} at ${LORA_LIBTORCH}: expected 2.11 to 2.15")
endif()

add_library(LibTorch::c10 SHARED IMPORTED)
set_target_properties(LibTorch::c10 PROPERTIES IMPORTED_LOCATION ${LORA_LIBTORCH}/lib/libc10.so)
add_library(LibTorch::torch_cpu SHARED IMPORTED)
set_target_properties(LibTorch::torch_cpu PROPERTIES IMPORTED_LOCATION ${LORA_LIBTORCH}/lib/libtorch_cpu.so)
add_library(LibTorch::torch INTERFACE IMPORTED)
# -idirafter, because torch ships its own fmt, which must not come before the system's.
target_compile_options(LibTorch::torch INTERFACE
  "SHELL:-idirafter ${LORA_LIBTORCH}/include" "SHELL:-idirafter ${LORA_LIBTORCH}/include/torch/csrc/api/include")
target_link_libraries(LibTorch::torch INTERFACE LibTorch::torch_cpu LibTorch::c10)
# The wheel's libtorch_cpu finds the CUDA libraries by its own RPATH, which the linker does not follow.
target_link_options(LibTorch::torch INTERFACE -Wl,--allow-shlib-undefined)
# The wheel has its own libgomp; a LibTorch without one uses the compiler's.
add_library(LibTorch::openmp INTERFACE IMPORTED)
if(EXISTS ${LORA_LIBTORCH}/lib/libgomp.so.1)
  target_link_libraries(LibTorch::openmp INTERFACE ${LORA_LIBTORCH}/lib/libgomp.so.1)
else()
  target_link_libraries(LibTorch::openmp INTERFACE gomp)
endif()
# LibTorch contains oneDNN, whose float32 matrix product is called by ops/gemm where it is exported.
include(CheckCXXSourceCompiles)
set(CMAKE_REQUIRED_LIBRARIES LibTorch::torch)
check_cxx_source_compiles("namespace at { class Tensor; namespace native {
  void mkldnn_matmul(const Tensor&, const Tensor&, const Tensor&, float, float); } }
  int main(int argc, char** argv) { const at::Tensor& t = reinterpret_cast<const at::Tensor&>(*argv); if (argc > 9) at::native::mkldnn_matmul(t, t, t, 0, 1); }"
  LORA_LIBTORCH_ONEDNN)
unset(CMAKE_REQUIRED_LIBRARIES)
# Programs in the build tree and installed ones have the same search path for libraries, as both trees have the same layout. (CMake would
# pad a shorter path with empty entries, each of which means the current folder.)
set(CMAKE_INSTALL_RPATH "$ORIGIN/../lib/lora-train;${LORA_LIBTORCH}/lib")
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
