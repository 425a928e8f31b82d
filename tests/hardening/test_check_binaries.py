#!/usr/bin/env python3
"""Shows that check_binaries.py fires: small programs that lack one protection each."""
import argparse
import pathlib
import subprocess
import tempfile
import unittest

import check_binaries

GOOD = ["-O2", "-fPIE", "-pie", "-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3", "-D_GLIBCXX_ASSERTIONS", "-Wl,-z,relro,-z,now",
        "-Wl,-rpath,$ORIGIN/../lib:/usr/lib"]
SOURCE = """#include <cstdio>
#include <vector>
int main(int argc, char** argv) { char text[9]; std::snprintf(text, argc, "%s", argv[0]); std::vector<char> v(argc); return v[text[0]]; }
"""
options = None


class BinaryCheck(unittest.TestCase):
    def findings(self, *flags):
        with tempfile.TemporaryDirectory() as folder:
            source, program = pathlib.Path(folder, "a.cpp"), pathlib.Path(folder, "a")
            source.write_text(SOURCE, encoding="utf-8")
            subprocess.run([options.compiler, *GOOD, *flags, source, "-o", program], check=True, capture_output=True)
            return check_binaries.faults(options.readelf, program, "Release")

    def assert_fires(self, expected, *flags):
        found = self.findings(*flags)
        self.assertTrue(any(expected in finding for finding in found), (flags, found))

    def test_each_rule(self):
        self.assertEqual(self.findings(), [])
        self.assert_fires("the current folder", "-Wl,-rpath,/usr/lib::")
        self.assert_fires("looks for libraries in 'lib'", "-Wl,-rpath,lib")
        self.assert_fires("-z,relro", "-Wl,-z,norelro")
        self.assert_fires("-z,now", "-Wl,-z,lazy")
        self.assert_fires("executable stack", "-Wl,-z,execstack")
        self.assert_fires("position-independent", "-fno-pie", "-no-pie")
        self.assert_fires("stack protector", "-fno-stack-protector")
        self.assert_fires("_FORTIFY_SOURCE", "-U_FORTIFY_SOURCE")
        self.assert_fires("_GLIBCXX_ASSERTIONS", "-U_GLIBCXX_ASSERTIONS")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--readelf", required=True)
    options = parser.parse_args()
    unittest.main(argv=["test_check_binaries"])
