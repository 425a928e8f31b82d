# What all targets share: ccache, warnings, sanitizers and hardening (which tests/hardening checks in the binaries).
find_program(LORA_CCACHE ccache)
if(LORA_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Objects are shared between clones: paths below the clone are made relative (CCACHE_BASEDIR), and its folder is not part of what is
  # looked up (CCACHE_NOHASHDIR). The sloppiness keeps the time stamps of a precompiled header from defeating the cache.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${LORA_CCACHE})
endif()
# Debug information and assertions name sources relative to the clone.
add_compile_options(-ffile-prefix-map=${PROJECT_SOURCE_DIR}=.)

# g++ 12 warns of overflows in std::string operator+ that do not exist (GCC bug 105651).
add_compile_options(-Wall -Wextra -Wno-unused-parameter -Wno-array-bounds -Wno-restrict -Wno-stringop-overflow -fstack-protector-strong)
if(LORA_UNITY)
  # Both are false where a unit includes whole sources: the first means headers with anonymous namespaces, the second follows
  # std::variant through more inlining than g++ 12 understands.
  add_compile_options(-Wno-subobject-linkage -Wno-maybe-uninitialized)
endif()
if(LORA_WERROR)
  add_compile_options(-Werror)
endif()
if(LORA_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=address,undefined)
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  # Some distributions define a level by default: it must be removed first.
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -D_GLIBCXX_ASSERTIONS)
endif()
add_link_options(-Wl,-z,relro,-z,now)
include(CheckPIESupported)
check_pie_supported()
