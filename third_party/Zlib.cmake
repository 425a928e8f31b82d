# zlib 1.2 or later (Debian: zlib1g-dev), for .gz datasets.
find_package(ZLIB 1.2 REQUIRED)
