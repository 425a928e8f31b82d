# libjpeg-turbo 2.1 or later (Debian: libjpeg62-turbo-dev), for images: its pixels are those of Pillow.
find_package(PkgConfig REQUIRED)
pkg_check_modules(JPEG REQUIRED IMPORTED_TARGET libjpeg>=2.1)
