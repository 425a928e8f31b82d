# `cmake --install build/release --prefix X` writes the programs to X/bin/, and to X/lib/lora-train/ every shared library that
# they need except those of C and C++, so that X works without the build tree and .deps, and can be copied.
# Include this file after src/: it installs every program of src/tools/, each of which has its own install(TARGETS … bin).
#
# The libraries have their own folder because the system searches a prefix such as /usr/local, where the wheel's libgomp must
# not replace the system's. CUDA's libraries (gigabytes) are not copied: they are found in the LibTorch of the build, as long
# as it exists.
set(library_folder lib/lora-train)
get_property(tools DIRECTORY ${PROJECT_SOURCE_DIR}/src/tools PROPERTY BUILDSYSTEM_TARGETS)
set(tool_files)
foreach(tool ${tools})
  get_target_property(type ${tool} TYPE)
  if(type STREQUAL "EXECUTABLE")
    # DT_RPATH, unlike DT_RUNPATH, also serves the libraries' own dependencies.
    target_link_options(${tool} PRIVATE -Wl,--disable-new-dtags)
    string(APPEND tool_files " \"$<TARGET_FILE:${tool}>\"")
  endif()
endforeach()
install(CODE "set(tools${tool_files})\nset(library_folder ${library_folder})\n" COMPONENT libraries)
install(SCRIPT ${CMAKE_CURRENT_LIST_DIR}/InstallLibraries.cmake COMPONENT libraries)
install(FILES ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/CHANGELOG.md DESTINATION share/doc/lora-train)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/docs ${PROJECT_SOURCE_DIR}/configs DESTINATION share/doc/lora-train)
