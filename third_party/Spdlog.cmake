# spdlog 1.10 or later (Debian: libspdlog-dev). Never in one translation unit with torch: both bring an fmt.
find_package(spdlog 1.10 REQUIRED)
