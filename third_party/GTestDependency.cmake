# GoogleTest and GoogleMock 1.12 or later (Debian: libgtest-dev libgmock-dev).
find_package(GTest 1.12 REQUIRED)
