# Run by `cmake --install` with `tools` (executables of the build tree) and `library_folder` set: copies the libraries that
# they need, directly or through other libraries, into the prefix.
file(GET_RUNTIME_DEPENDENCIES EXECUTABLES ${tools}
  RESOLVED_DEPENDENCIES_VAR libraries UNRESOLVED_DEPENDENCIES_VAR missing CONFLICTING_DEPENDENCIES_PREFIX conflicts
  PRE_EXCLUDE_REGEXES "^(ld-linux.*|linux-vdso|lib(c|m|dl|rt|util|pthread|resolv|gcc_s|stdc\\+\\+|asan|ubsan))\\.so(\\..*)?$")
if(missing)
  message(FATAL_ERROR "Shared libraries not found: ${missing}. Build again with ./scripts/build.sh.")
endif()
foreach(name ${conflicts_FILENAMES})
  # The first one is that which the program itself would load.
  list(GET conflicts_${name} 0 first)
  list(APPEND libraries ${first})
endforeach()
file(INSTALL ${libraries} DESTINATION ${CMAKE_INSTALL_PREFIX}/${library_folder} TYPE SHARED_LIBRARY FOLLOW_SYMLINK_CHAIN)
