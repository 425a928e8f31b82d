# sentencepiece 0.1.97 or later (Debian: libsentencepiece-dev); it has no CMake package.
find_package(PkgConfig REQUIRED)
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece>=0.1.97)
