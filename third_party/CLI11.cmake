# CLI11 2.1 or later (Debian: libcli11-dev), header only.
find_package(CLI11 2.1 REQUIRED)
