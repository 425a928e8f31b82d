# Release builds compile code that computes little of its own with -O1, which takes about two thirds of the time.
set(LORA_LIGHT_OPTIMISATION $<$<CONFIG:Release>:-O1>)

# lora_area(name [TORCH] [LIGHT] [FOLDERS folder...] [DEPS target...]): the static library lora_<name> of every .cpp in src/<name>/
# and in those of its folders that are named.
# Areas without TORCH never see a torch header. Those with it share one precompiled header (lora_pch). LIGHT: see above.
function(lora_area name)
  cmake_parse_arguments(AREA "TORCH;LIGHT" "" "FOLDERS;DEPS" ${ARGN})
  list(TRANSFORM AREA_FOLDERS REPLACE "(.+)" "${PROJECT_SOURCE_DIR}/src/${name}/\\1/*.cpp" OUTPUT_VARIABLE inner)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cpp ${inner})
  if(NOT sources)
    message(FATAL_ERROR "src/${name}/ holds no .cpp")
  endif()
  add_library(lora_${name} STATIC ${sources})
  target_include_directories(lora_${name} PUBLIC ${PROJECT_SOURCE_DIR}/include PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(lora_${name} PUBLIC ${AREA_DEPS})
  if(AREA_LIGHT)
    target_compile_options(lora_${name} PRIVATE ${LORA_LIGHT_OPTIMISATION})
  endif()
  if(AREA_TORCH)
    target_link_libraries(lora_${name} PUBLIC LibTorch::torch)
    target_precompile_headers(lora_${name} REUSE_FROM lora_pch)
  endif()
endfunction()

# lora_tests(name [TORCH] [LABELS label...] [DEPS target...]): one GoogleTest program from every .cpp in tests/<name>/.
function(lora_tests name)
  cmake_parse_arguments(TESTS "TORCH" "" "DEPS;LABELS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${name}/*.cpp)
  if(NOT sources)
    message(FATAL_ERROR "tests/${name}/ holds no .cpp")
  endif()
  add_executable(test_${name} ${sources})
  target_include_directories(test_${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(test_${name} PRIVATE ${TESTS_DEPS} lora_test_paths GTest::gmock GTest::gtest_main)
  target_compile_options(test_${name} PRIVATE ${LORA_LIGHT_OPTIMISATION})
  if(TESTS_TORCH)
    # As the precompiled header, whose libraries are position-independent: programs are -fPIE by default.
    target_compile_options(test_${name} PRIVATE -fPIC)
    target_precompile_headers(test_${name} REUSE_FROM lora_test_torch_pch)
  else()
    target_precompile_headers(test_${name} REUSE_FROM lora_test_pch)
  endif()
  set(labels ${name} ${TESTS_LABELS})
  gtest_discover_tests(test_${name} TEST_PREFIX "${name}/" DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 300
    PROPERTIES LABELS "${labels}" TIMEOUT 900 ENVIRONMENT OMP_NUM_THREADS=1)  # tests run side by side
endfunction()
