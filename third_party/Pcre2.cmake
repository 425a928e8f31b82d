# PCRE2 10.42 or later, 8-bit (Debian: libpcre2-dev), for the regular expressions of PEFT and of tokenizer.json.
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8>=10.42)
