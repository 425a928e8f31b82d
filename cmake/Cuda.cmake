# LORA_CUDA: whether the module of the program's own CUDA kernels (src/ops/cuda) is built. AUTO: where a CUDA compiler of
# version 12 or later works. Programs do not link it, so everything else is the same with and without.
set(LORA_CUDA AUTO CACHE STRING "Build the CUDA kernels: AUTO (where nvcc works), ON, OFF")
set_property(CACHE LORA_CUDA PROPERTY STRINGS AUTO ON OFF)
set(LORA_CUDA_FOLDER ${PROJECT_BINARY_DIR}/lib)
set(LORA_CUDA_MODULE OFF)

# A macro: enable_language() belongs to the top level's scope.
macro(lora_enable_cuda)
  find_program(LORA_NVCC nvcc PATHS /usr/local/cuda/bin ENV CUDA_PATH PATH_SUFFIXES bin)
  if(LORA_NVCC)
    if(NOT DEFINED ENV{CUDACXX})
      set(ENV{CUDACXX} ${LORA_NVCC})
    endif()
    set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER} CACHE FILEPATH "Compiler of the host's part of .cu files")
    # Machine code for the A100's and the H100's generations, PTX for later ones.
    set(CMAKE_CUDA_ARCHITECTURES "80-real;90-real;90-virtual" CACHE STRING "CUDA architectures")
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
      if(LORA_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
        set(CMAKE_CUDA_COMPILER_LAUNCHER ${LORA_CCACHE})
      endif()
      enable_language(CUDA)
      if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12)
        set(LORA_CUDA_MODULE ON)
        if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
          set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)  # CMake 3.25 does not know that nvcc has it
        endif()
        # Programs of the build tree find the module as installed ones do: by their own search path.
        list(APPEND CMAKE_BUILD_RPATH ${LORA_CUDA_FOLDER})
      endif()
    endif()
  endif()
endmacro()

if(NOT LORA_CUDA STREQUAL "OFF")
  lora_enable_cuda()
endif()
if(LORA_CUDA_MODULE)
  message(STATUS "CUDA kernels: nvcc ${CMAKE_CUDA_COMPILER_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}")
elseif(LORA_CUDA STREQUAL "ON")
  message(FATAL_ERROR "LORA_CUDA=ON, but no CUDA compiler of version 12 or later works (nvcc: ${LORA_NVCC}). "
    "Put nvcc on the PATH, with a g++ that it takes, or pass -DLORA_CUDA=AUTO.")
else()
  message(STATUS "CUDA kernels: not built (LORA_CUDA=${LORA_CUDA}, nvcc: ${LORA_NVCC})")
endif()
