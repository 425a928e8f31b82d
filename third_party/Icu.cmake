# ICU 72 or later (Debian: libicu-dev), for normal forms and grapheme clusters in tokenizer.json.
find_package(PkgConfig REQUIRED)
pkg_check_modules(ICU REQUIRED IMPORTED_TARGET icu-uc>=72)
