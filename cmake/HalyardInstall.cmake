# Filled by the packaging work: install rules, CMake package and pkg-config file.
