# One target for each folder of halyard/, and the rule between them.
#
#   halyard_folder(NAME)        an object library halyard_NAME of NAME/**.cc; its objects in HALYARD_NAME_OBJECTS
#   halyard_folder_tests(NAME)  a test program halyard_NAME_test of NAME/**_test.cc
#
# Files named *.isa.cc hold kernels. They are compiled once for each instruction set below, with HALYARD_ISA set to its
# name, and chosen among at run time.

set(HALYARD_FOLDER_ORDER base hal quant ops io text models engine serve cli)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(isas plain avx2 avx512 avx512vnni avx512bf16)
  set(HALYARD_ISA_FLAGS_plain "")
  set(HALYARD_ISA_FLAGS_avx2 -mavx2 -mfma -mf16c -mbmi2)
  set(HALYARD_ISA_FLAGS_avx512 ${HALYARD_ISA_FLAGS_avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512)
  set(HALYARD_ISA_FLAGS_avx512vnni ${HALYARD_ISA_FLAGS_avx512} -mavx512vnni)
  set(HALYARD_ISA_FLAGS_avx512bf16 ${HALYARD_ISA_FLAGS_avx512vnni} -mavx512bf16)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(isas plain neon)
  set(HALYARD_ISA_FLAGS_plain "")
  set(HALYARD_ISA_FLAGS_neon "")
else()
  set(isas plain)
  set(HALYARD_ISA_FLAGS_plain "")
endif()

# The sets to build: those this processor has stand first, as each has all that those before it have.
set(HALYARD_ISAS all CACHE STRING "Instruction sets that kernels are compiled for: all, or native for those this processor has")
set(HALYARD_BUILT_ISAS ${isas})
if(HALYARD_ISAS STREQUAL "native" AND EXISTS /proc/cpuinfo)
  file(STRINGS /proc/cpuinfo has REGEX "^flags" LIMIT_COUNT 1)
  set(names_avx2 avx2 fma f16c bmi2)
  set(names_avx512 avx512f avx512bw avx512vl avx512dq)
  set(names_avx512vnni avx512_vnni)
  set(names_avx512bf16 avx512_bf16)
  set(HALYARD_BUILT_ISAS)
  foreach(isa IN LISTS isas)
    foreach(name IN LISTS names_${isa})
      if(NOT has MATCHES " ${name}( |$)")
        set(missing ${isa})
      endif()
    endforeach()
    if(missing)
      break()
    endif()
    list(APPEND HALYARD_BUILT_ISAS ${isa})
  endforeach()
elseif(NOT HALYARD_ISAS STREQUAL "all")
  message(FATAL_ERROR "HALYARD_ISAS: expected all or native, got ${HALYARD_ISAS}")
endif()
if(NOT HALYARD_BUILT_ISAS STREQUAL isas)
  list(GET HALYARD_BUILT_ISAS -1 most)
  add_compile_definitions(HALYARD_ISA_MOST=${most})
endif()

# Fails the build where a file of `folder` includes a folder that stands to its right.
function(halyard_wall folder files)
  list(FIND HALYARD_FOLDER_ORDER ${folder} place)
  if(place EQUAL -1)  # testing may include everything
    return()
  endif()
  set(stamp ${CMAKE_BINARY_DIR}/walls/${folder}.stamp)
  add_custom_command(OUTPUT ${stamp}
    COMMAND ${CMAKE_COMMAND} -DFOLDER=${folder} "-DORDER=${HALYARD_FOLDER_ORDER}" "-DFILES=${files}" -DSTAMP=${stamp}
            -P ${CMAKE_SOURCE_DIR}/cmake/CheckWalls.cmake
    DEPENDS ${files} ${CMAKE_SOURCE_DIR}/cmake/CheckWalls.cmake VERBATIM COMMENT "Checking what halyard/${folder} includes")
  add_custom_target(halyard_${folder}_wall DEPENDS ${stamp})
endfunction()

# Fails the build where kernels leave functions that the linker could merge with those of other files. Without optimisation
# every inline function is one.
function(halyard_isa_check target)
  if(CMAKE_BUILD_TYPE STREQUAL "Debug")
    return()
  endif()
  set(stamp ${CMAKE_BINARY_DIR}/walls/${target}.stamp)
  add_custom_command(OUTPUT ${stamp}
    COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM} "-DOBJECTS=$<TARGET_OBJECTS:${target}>" -DSTAMP=${stamp}
            -P ${CMAKE_SOURCE_DIR}/cmake/CheckIsaObjects.cmake
    DEPENDS $<TARGET_OBJECTS:${target}> ${CMAKE_SOURCE_DIR}/cmake/CheckIsaObjects.cmake
    VERBATIM COMMENT "Checking what ${target} defines")
  add_custom_target(${target}_check DEPENDS ${stamp})
  set_property(GLOBAL APPEND PROPERTY HALYARD_ISA_CHECKS ${target}_check)
endfunction()

function(halyard_object_library target)
  add_library(${target} OBJECT ${ARGN})
  target_link_libraries(${target} PRIVATE halyard_options tl::expected fmt::fmt PkgConfig::PCRE2 PkgConfig::UTF8PROC)
  if(TARGET halyard_${folder}_wall)
    add_dependencies(${target} halyard_${folder}_wall)
  endif()
endfunction()

function(halyard_folder folder)
  set(root ${CMAKE_SOURCE_DIR}/halyard/${folder})
  file(GLOB_RECURSE files CONFIGURE_DEPENDS ${root}/*.h ${root}/*.cc)
  halyard_wall(${folder} "${files}")

  set(sources ${files})
  list(FILTER sources INCLUDE REGEX "\\.cc$")
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  set(kernels ${sources})
  list(FILTER kernels INCLUDE REGEX "\\.isa\\.cc$")
  list(FILTER sources EXCLUDE REGEX "\\.isa\\.cc$")

  set(objects)
  if(sources)
    halyard_object_library(halyard_${folder} ${sources})
    list(APPEND objects $<TARGET_OBJECTS:halyard_${folder}>)
  endif()
  if(kernels)
    foreach(isa IN LISTS HALYARD_BUILT_ISAS)
      halyard_object_library(halyard_${folder}_${isa} ${kernels})
      target_compile_options(halyard_${folder}_${isa} PRIVATE ${HALYARD_ISA_FLAGS_${isa}} $<$<CONFIG:Release>:-O3>
        -fno-math-errno -fno-trapping-math)
      target_compile_definitions(halyard_${folder}_${isa} PRIVATE HALYARD_ISA=${isa})
      list(APPEND objects $<TARGET_OBJECTS:halyard_${folder}_${isa}>)
      halyard_isa_check(halyard_${folder}_${isa})
    endforeach()
  endif()
  set(HALYARD_${folder}_OBJECTS ${objects} PARENT_SCOPE)
endfunction()

function(halyard_folder_tests folder)
  file(GLOB_RECURSE tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/halyard/${folder}/*_test.cc)
  if(NOT tests)
    return()
  endif()
  add_executable(halyard_${folder}_test ${tests} ${HALYARD_testing_OBJECTS})
  target_link_libraries(halyard_${folder}_test PRIVATE halyard halyard_options fmt::fmt PkgConfig::PCRE2 PkgConfig::UTF8PROC
    GTest::gtest GTest::gtest_main)
  if(folder STREQUAL "base")
    target_precompile_headers(halyard_base_test PRIVATE ${HALYARD_HEAVY_HEADERS} <gtest/gtest.h>)
  else()
    target_precompile_headers(halyard_${folder}_test REUSE_FROM halyard_base_test)
  endif()
  target_compile_definitions(halyard_${folder}_test PRIVATE HALYARD_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
    HALYARD_PROGRAM="$<TARGET_FILE:halyard_exe>")
  add_dependencies(halyard_${folder}_test halyard_exe)
  add_test(NAME ${folder} COMMAND halyard_${folder}_test)
  set_tests_properties(${folder} PROPERTIES ENVIRONMENT
    "ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1;UBSAN_OPTIONS=print_stacktrace=1;TSAN_OPTIONS=halt_on_error=1")
endfunction()
