#!/usr/bin/env python3
"""Shows that check_layers.py fires: each rule broken once in a small repository made for it, and kept once."""
import pathlib
import tempfile
import unittest

import check_layers


def findings(files):
    """What the check says about a repository of these files (name -> text)."""
    with tempfile.TemporaryDirectory() as folder:
        repository = pathlib.Path(folder).resolve()
        for name in ("include/lora", "src"):
            (repository / name).mkdir(parents=True)
        for name, text in files.items():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            (repository / name).write_text(text, encoding="utf-8")
        return check_layers.check_repository(repository)


class LayerCheck(unittest.TestCase):
    def assert_fires(self, name, text, expected):
        found = findings({name: text})
        self.assertEqual(len(found), 1, found)
        self.assertIn(expected, found[0])
        self.assertTrue(found[0].startswith(name + ":"), found[0])

    def assert_quiet(self, name, text):
        self.assertEqual(findings({name: text}), [])

    def test_lower_layers_and_own_area_are_fine(self):
        self.assert_quiet("src/nn/a.cpp", '#include "lora/nn/a.h"\n#include "lora/ops/b.h"\n#include "nn/private.h"\n#include "a_detail.h"\n'
                                          "#include <vector>\n#include <ATen/ATen.h>\n")
        self.assert_quiet("src/pch/pch.h", "#include <ATen/ATen.h>\n")
        self.assert_quiet("src/tools/main.cpp", '#include "lora/app/train.h"\n')

    def test_upward_includes(self):
        self.assert_fires("src/nn/a.cpp", '#include "lora/base/b.h"\n#include "lora/models/b.h"\n', "nn includes lora/models/b.h: models is a higher layer")
        self.assert_fires("include/lora/base/a.h", "#include <lora/io/b.h>\n", "higher layer")
        self.assert_fires("src/base/a.cpp", '  #  include "lora/tools/b.h"', "higher layer")
        self.assert_fires("src/train/a.cpp", '#include "config/b.h"\n', "higher layer")

    def test_sideways_includes(self):
        self.assert_fires("include/lora/models/a.h", '#include "lora/peft/b.h"\n', "neighbour")
        self.assert_fires("src/io/a.cpp", '#include "lora/tokenizer/b.h"\n', "neighbour")
        self.assert_fires("src/data/a.cpp", '#include "lora/optim/b.h"\n', "neighbour")

    def test_libraries_link_what_they_include(self):
        sources = {"src/nn/a.cpp": '#include "lora/ops/b.h"\n#include "lora/nn/a.h"\n', "include/lora/nn/a.h": '#include "lora/base/b.h"\n',
                   "src/tools/a.cpp": '#include "lora/app/b.h"\n'}
        links = lambda areas, tools="lora_app": {  # noqa: E731
            "src/CMakeLists.txt": f"# The libraries\nlora_area(nn TORCH\n  DEPS {areas} PRIVATE ZLIB::ZLIB)\n",
            "src/tools/CMakeLists.txt": f"target_link_libraries(lora_tool_flags PUBLIC {tools} CLI11::CLI11)\n"}
        self.assertEqual(findings(sources | links("lora_base lora_ops")), [])
        self.assertEqual(findings(sources | links("lora_ops")),
                         ["src/CMakeLists.txt:2: nn includes headers of base, but does not link lora_base"])
        self.assertEqual(findings(sources | links("lora_base lora_ops lora_io")),
                         ["src/CMakeLists.txt:2: nn links lora_io, but includes no header of io"])
        self.assertEqual(findings(sources | links("lora_base lora_ops", "lora_app lora_nn")),
                         ["src/tools/CMakeLists.txt:1: tools links lora_nn, but includes no header of nn"])

    def test_line_numbers(self):
        found = findings({"src/nn/a.cpp": '/* two\nlines */\n\n#include "lora/app/b.h"\n'})
        self.assertTrue(found[0].startswith("src/nn/a.cpp:4:"), found)

    def test_private_headers_of_others(self):
        self.assert_fires("src/train/a.cpp", '#include "nn/private.h"\n', "private header of nn")
        self.assert_fires("src/train/a.cpp", '#include "../nn/private.h"\n', "hides the layer")

    def test_unknown_areas(self):
        self.assertEqual(findings({"src/helpers/a.cpp": "int a;\n"}), ["src/helpers:1: an area that the table of layers does not know"])
        self.assertEqual(findings({"include/lora/pch/a.h": "\n"}), ["include/lora/pch:1: an area that the table of layers does not know"])
        self.assert_fires("src/nn/a.cpp", '#include "lora/helpers/a.h"\n', "does not know")
        self.assert_fires("include/lora/a.h", "\n", "outside every area")

    def test_torch_where_it_may_not_be(self):
        for area in ("base", "tokenizer", "metrics"):
            self.assert_fires(f"src/{area}/a.cpp", "#include <torch/torch.h>\n", "free of torch")
            self.assert_fires(f"include/lora/{area}/a.h", "#include <ATen/core/Tensor.h>\n", "free of torch")
        self.assert_fires("src/metrics/a.cpp", '#include "c10/core/Device.h"\n', "free of torch")
        self.assert_fires("src/nn/a.cpp", "#include <torch/torch.h>\n", "include what is used")

    def test_torch_in_public_headers(self):
        self.assert_quiet("include/lora/nn/a.h", "#include <ATen/core/Tensor.h>\n")
        self.assert_quiet("include/lora/nn/b.h", "#include <c10/core/Device.h>\n")
        self.assert_quiet("src/nn/a.h", "#include <ATen/ATen.h>\n")
        self.assert_fires("include/lora/nn/a.h", "#include <ATen/ATen.h>\n", "at most")
        self.assert_fires("include/lora/train/a.h", "#include <torch/nn/module.h>\n", "at most")

    def test_using_namespace(self):
        self.assert_fires("include/lora/base/a.h", "using  namespace std;\n", "in a header")
        self.assert_fires("src/nn/a.h", "namespace x {\nusing namespace at;\n}\n", "in a header")
        self.assert_quiet("src/nn/a.cpp", "using namespace std::chrono_literals;\n")
        self.assert_quiet("src/nn/a.h", '// no using namespace here\nconst char* a = "using namespace";\n/* using namespace */\n')

    def test_spdlog(self):
        self.assert_quiet("src/base/log.cpp", "#include <spdlog/spdlog.h>\n")
        self.assert_fires("src/base/error.cpp", "#include <spdlog/spdlog.h>\n", "spdlog belongs to")
        self.assert_fires("src/train/log.cpp", '#include "spdlog/fmt/fmt.h"\n', "spdlog belongs to")

    def test_environment(self):
        self.assert_quiet("src/tools/main.cpp", 'auto* home = std::getenv("HF_HOME");\n')
        self.assert_fires("src/app/a.cpp", 'auto* home = std::getenv("HF_HOME");\n', "environment")
        self.assert_fires("src/io/a.cpp", 'auto* home = ::secure_getenv("HF_HOME");\n', "environment")
        self.assert_quiet("src/app/a.cpp", '// getenv is for tools\nconst char* a = "getenv";\n')

    def test_reserved_calls(self):
        for name, text, expected in (
            ("src/app/a.cpp", "std::cout << 1;\n", "lora::terminal"),
            ("src/nn/a.cpp", "fprintf(stderr, a);\n", "lora::terminal"),
            ("src/data/a.cpp", "std::ifstream file(path);\n", "open_input"),
            ("src/data/a.cpp", 'file = gzopen(path, "rb");\n', "open_input"),
            ("src/io/a.cpp", "open(path, O_RDONLY);\n", "open_input"),
            ("src/train/a.cpp", "setenv(name, value, 1);\n", "the environment"),
        ):
            self.assert_fires(name, text, expected)
        self.assert_quiet("src/base/terminal.cpp", "std::printf(a);\n")
        self.assert_quiet("src/nn/device.cpp", "std::ifstream file(path);\nsetenv(name, value, 0);\n")
        self.assert_quiet("src/tools/flags.cpp", "setenv(name, value, 0);\n")
        self.assert_quiet("src/app/a.cpp", "std::snprintf(a, 1, b); file = gzdopen(1, c);\n")

    def test_includes_in_comments_and_strings(self):
        self.assert_quiet("src/nn/a.cpp", '// #include "lora/app/b.h"\n/*\n#include "lora/app/b.h"\n*/\nconst char* a = R"(//)";\n')
        self.assert_fires("src/nn/a.cpp", 'const char* a = "/*";\n#include "lora/app/b.h"\nconst char* b = "*/";\n', "higher layer")


if __name__ == "__main__":
    unittest.main()
