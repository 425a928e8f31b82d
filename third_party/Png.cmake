# libpng 1.6 (Debian: libpng-dev), for images.
find_package(PkgConfig REQUIRED)
pkg_check_modules(PNG REQUIRED IMPORTED_TARGET libpng16)
