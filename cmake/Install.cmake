# `cmake --install build/release --prefix X`: X/bin/<tools> and X/lib/lora-train/ with every shared library they need
# except the C and C++ run-time libraries, so that X runs after the build tree and .deps are gone, and can be copied.
# Include it after src/: it takes every program of src/tools/, each of which has its own install(TARGETS … bin).
#
# The libraries have a folder of their own because a prefix such as /usr/local is searched by the system, where the
# wheel's libgomp must not stand in for the system's. CUDA's libraries (gigabytes) are not copied: they are found in the
# LibTorch that was built with, while it is there.
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
