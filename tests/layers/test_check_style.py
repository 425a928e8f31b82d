#!/usr/bin/env python3
"""Shows that check_style.py fires: each rule broken once in a small repository made for it, and kept once."""
import pathlib
import tempfile
import unittest

import check_style


def findings(files):
    """The findings in a repository of these files (name -> text)."""
    with tempfile.TemporaryDirectory() as folder:
        repository = pathlib.Path(folder).resolve()
        for name, text in files.items():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            (repository / name).write_text(text, encoding="utf-8")
        return check_style.check_repository(repository)


class StyleCheck(unittest.TestCase):
    def assert_fires(self, name, text, expected, **others):
        found = findings({name: text, **others})
        self.assertEqual(len(found), 1, found)
        self.assertIn(expected, found[0])
        self.assertTrue(found[0].startswith(name + ":"), found[0])

    def assert_quiet(self, name, text, **others):
        self.assertEqual(findings({name: text, **others}), [])

    def test_long_files(self):
        self.assert_fires("scripts/a.py", "x = 1\n" * 401, "401 lines")
        self.assert_quiet("scripts/a.py", "x = 1\n" * 400)
        self.assert_quiet("tests/data/a.py", "x = 1\n" * 401)

    def test_long_lines(self):
        self.assert_fires("src/nn/a.h", "\n// " + "x" * 138 + "\n", "src/nn/a.h:2: a line of 141 characters")
        self.assert_quiet("src/nn/a.h", "// " + "x" * 137 + "\n")
        self.assert_quiet("tests/nn/a.cpp", 'const char* text = R"(' + "x" * 200 + ')";\n')
        self.assert_fires("tests/nn/a.cpp", 'f(R"(a\n)", 1);\n// '  + "x" * 138 + "\n", "tests/nn/a.cpp:3: a line of 141")

    def test_long_functions(self):
        def source(lines):
            return "namespace lora::nn {\n\nclass A {\n  int f() const {\n" + "    g();\n" * (lines - 2) + "  }\n};\n\n}  // namespace lora::nn\n"

        self.assert_fires("src/nn/a.cpp", source(41), "src/nn/a.cpp:4: a function of 41 lines")
        self.assert_quiet("src/nn/a.cpp", source(40))
        lambda_in_call = "void f() {\n  g([] {\n" + "    h();\n" * 20 + "  });\n}\n"
        self.assert_quiet("src/nn/a.cpp", lambda_in_call)
        table_in_function = "int f() {\n  static const std::vector<int> kTable{\n" + "      {1},\n" * 50 + "  };\n  return kTable[0];\n}\n"
        self.assert_quiet("src/nn/a.cpp", table_in_function)
        table = "constexpr int kTable[] = {\n" + "    1,\n" * 50 + "};\n"
        self.assert_quiet("src/nn/a.cpp", table)

    def test_own_header_first(self):
        own = {"src/nn/a.h": "#pragma once\n"}
        self.assert_fires("src/nn/a.cpp", '#include "nn/b.h"\n#include "nn/a.h"\n', "its own header", **own)
        self.assert_quiet("src/nn/a.cpp", '#include "nn/a.h"\n\n#include <vector>\n#include "nn/b.h"\n', **own)
        self.assert_fires("src/nn/c.cpp", '#include "base/b.h"\n#include "lora/nn/c.h"\n', "its own header",
                          **{"include/lora/nn/c.h": "#pragma once\n"})

    def test_private_headers_by_their_place_in_src(self):
        self.assert_fires("src/nn/a.cpp", '#include "b.h"\n', "name it from src/ on")

    def test_messages(self):
        self.assert_fires("src/nn/a.cpp", 'void f() { config_error("a", "is wrong."); }\n', "no full stop at its end")
        self.assert_fires("src/nn/a.cpp", 'void f() { log::warn("It is wrong. Change it"); }\n', "ends each of them")
        self.assert_quiet("src/nn/a.cpp", 'void f() { config_error("a", "is wrong: found " + x); log::info("It is wrong. Change it."); }\n')
        self.assert_quiet("tests/nn/a.cpp", 'void f() { config_error("a", "is wrong."); }\n')

    def test_words(self):
        self.assert_fires("src/nn/a.cpp", "// Of what is here.\n", "'Of what'")
        self.assert_fires("include/lora/nn/a.h", "/// learnt tokens\n", "trained, or supervised")
        self.assert_fires("tests/nn/a.cpp", "int wanted = 1;\n", "needed or requested")

    def test_namespaces(self):
        self.assert_fires("src/nn/a.cpp", "namespace lora::ops {\n\nint a;\n\n}\n", "expected lora::nn")
        self.assert_fires("src/nn/a.cpp", "namespace {\nint a;\n}\n", "blank line")
        self.assert_quiet("src/nn/a.cpp", "namespace lora::nn {\n\nnamespace {\n\nint a;\n\n}\n\n}\n")
        self.assert_quiet("src/nn/a.h", "namespace lora::ops {\nclass Lanes;\n}\n\nnamespace lora::nn {\n\nint a;\n\n}\n")
        self.assert_quiet("src/base/a.cpp", "namespace lora::log {\n\nint a;\n\n}\n")

    def test_names_of_one_area(self):
        def source(line):
            return "namespace lora::nn {\n\nnamespace {\n\n" + line + "\n\n}  // namespace\n\n}  // namespace lora::nn\n"

        first = {"src/nn/a.cpp": source("int size_of(int a) {\n  return a;\n}")}
        self.assert_fires("src/nn/b.cpp", source("template <typename T> T size_of(T a);"), "size_of is defined in an anonymous namespace of a.cpp", **first)
        self.assert_fires("src/nn/b.cpp", source("struct size_of {};"), "of a.cpp too", **first)
        self.assert_quiet("src/nn/b.cpp", source("int other_size(int a) {\n  return size_of(a);\n}"), **first)
        self.assert_quiet("src/nn/b.cpp", source("using Ids = int;"), **{"src/nn/a.cpp": source("using Ids = int;")})
        self.assert_fires("src/nn/b.cpp", source("using Ids = int;"), "Ids is defined", **{"src/nn/a.cpp": source("using Ids = long;")})


if __name__ == "__main__":
    unittest.main()
