# What `cmake --install` puts where, the CMake package, the pkg-config file, and the test of all three.
include(CMakePackageConfigHelpers)

file(GLOB_RECURSE headers RELATIVE ${CMAKE_SOURCE_DIR} CONFIGURE_DEPENDS halyard/*.h)
list(FILTER headers EXCLUDE REGEX "^halyard/(testing|serve|cli)/")
target_sources(halyard INTERFACE FILE_SET HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR} FILES ${headers})

install(TARGETS halyard EXPORT HalyardTargets FILE_SET HEADERS)
install(TARGETS halyard_exe)
install(DIRECTORY models/gutenberg-29m-4bit DESTINATION ${CMAKE_INSTALL_DATADIR}/halyard/models)
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Halyard)
install(EXPORT HalyardTargets NAMESPACE Halyard:: DESTINATION ${package_dir})
configure_package_config_file(cmake/HalyardConfig.cmake.in HalyardConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(HalyardConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/HalyardConfig.cmake ${CMAKE_BINARY_DIR}/HalyardConfigVersion.cmake
  DESTINATION ${package_dir})

# The file finds its prefix from where it lies, so that an installed tree can be moved.
file(RELATIVE_PATH pc_to_prefix /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
configure_file(cmake/halyard.pc.in halyard.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/halyard.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

if(HALYARD_TESTS AND NOT HALYARD_SANITIZE)
  add_test(NAME install COMMAND bash ${CMAKE_SOURCE_DIR}/tests/install/check.sh ${CMAKE_BINARY_DIR} ${CMAKE_CXX_COMPILER})
endif()
