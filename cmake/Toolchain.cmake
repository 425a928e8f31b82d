# Flags and speed-ups shared by every target: warnings, sanitizers, ccache, hardening (which tests/hardening looks for in the binaries).
find_program(LORA_CCACHE ccache)
if(LORA_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # A precompiled header's own time stamps must not defeat the cache.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${LORA_CCACHE})
endif()

# g++ 12 takes std::string operator+ for an overflow (GCC bug 105651).
add_compile_options(-Wall -Wextra -Wno-unused-parameter -Wno-array-bounds -Wno-restrict -Wno-stringop-overflow -fstack-protector-strong)
if(LORA_WERROR)
  add_compile_options(-Werror)
endif()
if(LORA_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=address,undefined)
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  # Some distributions define a level of their own, which must go first.
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -D_GLIBCXX_ASSERTIONS)
endif()
add_link_options(-Wl,-z,relro,-z,now)
include(CheckPIESupported)
check_pie_supported()
