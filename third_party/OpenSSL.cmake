# libcrypto 3 (Debian: libssl-dev), for SHA-256.
find_package(OpenSSL 3.0 REQUIRED COMPONENTS Crypto)
