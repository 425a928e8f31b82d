# libwebp 1.2 or later with its demultiplexer (Debian: libwebp-dev), for images.
find_package(PkgConfig REQUIRED)
pkg_check_modules(WEBP REQUIRED IMPORTED_TARGET libwebp>=1.2 libwebpdemux>=1.2)
