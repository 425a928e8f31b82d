# nlohmann/json 3.11 or later (Debian: nlohmann-json3-dev), header only.
find_package(nlohmann_json 3.11 REQUIRED)
