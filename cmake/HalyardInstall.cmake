# What `cmake --install` puts where, the CMake package, the pkg-config file, and the test of all three.
include(CMakePackageConfigHelpers)

# The public headers: what others build on. They include no others; tests/install compiles each by itself. What ops.h includes is
# public too.
file(STRINGS halyard/ops/ops.h headers REGEX "^#include \"halyard/")
list(TRANSFORM headers REPLACE "^#include \"(.*)\"" "\\1")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS halyard/ops/ops.h)
list(APPEND headers halyard/halyard.h halyard/ops/ops.h)
foreach(public
    base/file base/float16 base/guarded base/quote base/result base/types
    hal/buffer hal/cpu/isa hal/cpu/kernel hal/cpu/options hal/device hal/encoder hal/graph hal/hazard hal/kernel hal/passes
    hal/plan hal/pool hal/profile hal/record hal/session
    quant/format
    ops/slot_batch ops/weight/weight
    io/mapped_file io/model_dir io/safetensors
    text/tokenizer
    models/model models/step models/weights
    engine/engine engine/request engine/sampler engine/text_model)
  list(APPEND headers halyard/${public}.h)
endforeach()
foreach(library halyard halyard_static)
  target_sources(${library} INTERFACE FILE_SET HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR} FILES ${headers})
endforeach()

install(TARGETS halyard EXPORT HalyardTargets FILE_SET HEADERS)
install(TARGETS halyard_static EXPORT HalyardStaticTargets FILE_SET HEADERS)
install(TARGETS halyard_exe)
install(DIRECTORY models/gutenberg-29m-4bit DESTINATION ${CMAKE_INSTALL_DATADIR}/halyard/models)
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Halyard)
install(EXPORT HalyardTargets NAMESPACE Halyard:: DESTINATION ${package_dir})
install(EXPORT HalyardStaticTargets NAMESPACE Halyard:: DESTINATION ${package_dir})
configure_package_config_file(cmake/HalyardConfig.cmake.in HalyardConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(HalyardConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/HalyardConfig.cmake ${CMAKE_BINARY_DIR}/HalyardConfigVersion.cmake
  DESTINATION ${package_dir})

# The file finds its prefix from where it lies, so that an installed tree can be moved.
file(RELATIVE_PATH pc_to_prefix /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
set(pc_requires "")
set(pc_libs "-L\${libdir} -lhalyard")
configure_file(cmake/halyard.pc.in halyard.pc @ONLY)
set(pc_requires "fmt libpcre2-8 libutf8proc")
set(pc_libs "\${libdir}/libhalyard.a -pthread")
configure_file(cmake/halyard.pc.in halyard-static.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/halyard.pc ${CMAKE_BINARY_DIR}/halyard-static.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

if(HALYARD_TESTS AND NOT HALYARD_SANITIZE)
  add_test(NAME install COMMAND bash ${CMAKE_SOURCE_DIR}/tests/install/check.sh ${CMAKE_BINARY_DIR} ${CMAKE_CXX_COMPILER})
endif()
