#!/usr/bin/env python3
"""Shows that check_links.py fires: each rule broken once in a small repository made for it, and kept once."""
import pathlib
import tempfile
import unittest

import check_links


def findings(files):
    """What the check says about a repository of these files (name -> text), besides an empty README.md."""
    with tempfile.TemporaryDirectory() as folder:
        repository = pathlib.Path(folder).resolve()
        for name, text in ({"README.md": ""} | files).items():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            (repository / name).write_text(text, encoding="utf-8")
        return check_links.check_repository(repository)


class LinkCheck(unittest.TestCase):
    def assert_fires(self, files, expected):
        found = findings(files)
        self.assertEqual(len(found), 1, found)
        self.assertIn(expected, found[0])

    def test_links(self):
        page = {"docs/a.md": "# A `b`: c\n\n## Same\n\n## Same\n"}
        links = "[a](docs/a.md) [b](docs/a.md#a-b-c) [c](docs/a.md#same-1) [d](https://x.org/y) [e](docs/)\n"
        self.assertEqual(findings(page | {"README.md": links}), [])
        self.assertEqual(findings({"docs/a.md": "# Top\n\n[up](../README.md) [here](#top)\n"}), [])
        self.assert_fires({"README.md": "one\n[a](docs/a.md)\n"}, "README.md:2: links to docs/a.md: there is no such file")
        self.assert_fires(page | {"README.md": "[a](docs/a.md#d)\n"}, "there is no such heading")

    def test_code_has_no_links(self):
        self.assertEqual(findings({"README.md": "    [a](b)\n```\n[a](b)\n```\n"}), [])

    def test_named_files(self):
        self.assertEqual(findings({"README.md": "`configs/a.json`, `build/x/y.sh`, other/configs/b.json\n", "configs/a.json": "{}"}), [])
        self.assert_fires({"README.md": "    lora-train --config configs/b.json\n"}, "names configs/b.json: there is no such file")

    def test_quotes(self):
        source = {"src/a.cpp": 'fail("is in "\n     "use");\n'}
        self.assertEqual(findings(source | {"docs/troubleshooting.md": "### `[x] is in use`, `[memory]` and others\n"}), [])
        self.assert_fires(source | {"docs/troubleshooting.md": "### `is used … by`\n"}, "quotes 'is used', which no source has")

    def test_readme(self):
        self.assert_fires({"README.md": "a\n" * 121}, "has 121 lines")
        self.assert_fires({"README.md": "a" * 141 + "\n"}, "has 141 characters")
        self.assert_fires({"README.md": "| b | " + "a " * 26 + "|\n"}, "a cell of 26 words")


if __name__ == "__main__":
    unittest.main()
