#!/usr/bin/env python3
"""Fails on every include that goes up or sideways in the order of the layers, on libraries whose DEPS are not the areas that
their sources include, and on a few other rules of CONTRIBUTING.md.

    check_layers.py REPOSITORY

Prints "file:line: what is wrong" for each finding; exit code 1 if there is one, 2 if REPOSITORY holds no sources.
"""
import pathlib
import re
import sys

# Lowest first. An area may include areas of earlier lines and itself, never another area of its own line.
LAYERS = [
    ["base"],
    ["io", "tokenizer", "metrics", "image"],
    ["ops", "comm"],
    ["quantization"],
    ["nn"],
    ["models", "diffusion", "peft", "data", "optim"],
    ["checkpoint", "generate", "torchscript"],
    ["train"],
    ["config"],
    ["app"],
    ["tools"],
]
LEVEL = {area: level for level, line in enumerate(LAYERS) for area in line}
TORCH_FREE = {"base", "tokenizer", "metrics", "image"}
PUBLIC_TORCH_HEADERS = {"ATen/core/Tensor.h", "c10/core/Device.h", "c10/core/ScalarType.h"}  # Tensor.h and cheap parts of it
NOT_AREAS = {"pch"}  # folders of src/ that hold no code of ours
SPDLOG_FILES = {"src/base/log.cpp"}
ENVIRONMENT_FILES = {"src/base/log.cpp"}  # NO_COLOR, in addition to everything in src/tools/
ENVIRONMENT_WRITERS = {"src/nn/device.cpp", "src/ops/gemm.cpp"}  # variables of libraries that depend on the run, in addition to src/tools/
SYSTEM_FILE_READERS = {"src/base/control_group.cpp", "src/nn/device.cpp", "src/torchscript/trial.cpp"}  # only of /proc and /sys
# What only some files may do, and what the others call instead: (pattern, files or folders, advice).
RESERVED = [
    (r"\bstd::(?:cout|cerr|clog|puts|printf)\b|\b(?:fprintf|fputs|fwrite)\s*\(", {"src/base/terminal.cpp"}, "writes to a terminal: call lora::log or lora::terminal"),
    (r"\bstd::(?:basic_)?[io]?fstream\b|\b(?:fopen|gzopen)\s*\(", SYSTEM_FILE_READERS, "opens a file: call open_input, read_file, write_file_atomically or ResultFile"),
    (r"\bO_(?:RDONLY|WRONLY|RDWR|CREAT)\b", {"src/base/", "src/metrics/jsonl_sink.cpp", "src/torchscript/trial.cpp"},
     "opens a file: call open_input, read_file, write_file_atomically or ResultFile"),
    (r"\b(?:setenv|putenv|unsetenv)\b", {"src/tools/"} | ENVIRONMENT_WRITERS, "changes the environment outside src/tools/"),
]

SOURCES = {".h", ".hpp", ".cuh", ".cpp", ".cc", ".cu", ".inc"}
HEADERS = {".h", ".hpp", ".cuh", ".inc"}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)
# Where src/ says which areas a library links: (file, pattern of a library, its area and its arguments).
LIBRARIES = [
    ("src/CMakeLists.txt", re.compile(r"^lora_area\((?P<area>\w+)(?P<arguments>[^)]*)\)", re.MULTILINE)),
    ("src/tools/CMakeLists.txt", re.compile(r"^target_link_libraries\(lora_(?P<area>tool)_flags(?P<arguments>[^)]*)\)", re.MULTILINE)),
]
LITERAL_OR_COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|R"([^\s()\\]{0,16})\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)


def blank(text, keep_strings):
    """The text with comments (and string literals) made of spaces; line numbers stay."""

    def replace(match):
        found = match.group(0)
        if keep_strings and not found.startswith(("//", "/*")):
            return found
        return re.sub(r"[^\n]", " ", found)

    return LITERAL_OR_COMMENT.sub(replace, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def target_area(quote, path):
    """The area that an include names, or None for a header that is not ours."""
    if path.startswith("lora/"):
        return path.split("/")[1]
    first = path.split("/")[0]
    return first if quote == '"' and "/" in path and first in LEVEL else None


def torch_header(path):
    return path.split("/")[0] in {"torch", "ATen", "c10", "caffe2"}


def check_order(area, path, target, public_form):
    if target not in LEVEL:
        return f"includes {path}, of an area that the table of layers does not know"
    if target == area:
        return None
    if LEVEL[target] == LEVEL[area]:
        return f"{area} includes {path}: {target} is its neighbour of the same layer"
    if LEVEL[target] > LEVEL[area]:
        return f"{area} includes {path}: {target} is a higher layer"
    return None if public_form else f"includes {path}: a private header of {target}; public ones are \"lora/{target}/…\""


def check_include(name, area, quote, path):
    """Findings for one include of the file `name` (relative to the repository)."""
    if ".." in path.split("/"):
        yield f"includes {path}: '..' hides the layer; write \"lora/<area>/x.h\""
        return
    target = target_area(quote, path)
    if target is not None:
        finding = check_order(area, path, target, path.startswith("lora/"))
        if finding:
            yield finding
    if torch_header(path):
        if area in TORCH_FREE:
            yield f"includes {path}: {area} is free of torch"
        elif path == "torch/torch.h":
            yield f"includes {path}, all of torch's C++ interface: include what is used, such as ATen/ATen.h"
        elif name.startswith("include/") and path not in PUBLIC_TORCH_HEADERS:
            yield f"includes {path}: public headers include {', '.join(sorted(PUBLIC_TORCH_HEADERS))} at most"
    if path.split("/")[0] == "spdlog" and name not in SPDLOG_FILES:
        yield f"includes {path}: spdlog belongs to {', '.join(sorted(SPDLOG_FILES))}; call lora::log"


def check_text(name, area, code):
    """Findings (position, text) of the rules that are not about includes; `code` has no comments and no strings."""
    if pathlib.PurePath(name).suffix in HEADERS:
        for match in re.finditer(r"\busing\s+namespace\b", code):
            yield match.start(), "'using namespace' in a header"
    if area != "tools" and name not in ENVIRONMENT_FILES:
        for match in re.finditer(r"\b(?:secure_)?getenv\b|\benviron\b", code):
            yield match.start(), "reads the environment outside src/tools/: pass the value in"
    for pattern, places, advice in RESERVED:
        if not name.startswith(tuple(places)):
            for match in re.finditer(pattern, code):
                yield match.start(), advice


def check_file(repository, file, area):
    name = file.relative_to(repository).as_posix()
    text = file.read_text(encoding="utf-8")
    with_strings = blank(text, keep_strings=True)
    for match in INCLUDE.finditer(with_strings):
        for finding in check_include(name, area, match.group(1), match.group(2)):
            yield f"{name}:{line_of(with_strings, match.start(1))}: {finding}"
    for position, finding in check_text(name, area, blank(text, keep_strings=False)):
        yield f"{name}:{line_of(text, position)}: {finding}"


def included_areas(repository, area):
    """The other areas whose headers the area's headers and sources include."""
    found = set()
    for folder in ("include/lora", "src"):
        for file in (repository / folder / area).rglob("*"):
            if file.is_file() and file.suffix in SOURCES:
                text = blank(file.read_text(encoding="utf-8"), keep_strings=True)
                found |= {target_area(match.group(1), match.group(2)) for match in INCLUDE.finditer(text)}
    return found - {area, None}


def check_links(repository):
    """Findings for every library whose DEPS differ from what its area includes."""
    for name, pattern in LIBRARIES:
        if not (repository / name).is_file():
            continue
        text = (repository / name).read_text(encoding="utf-8")
        for match in pattern.finditer(text):
            area = "tools" if match["area"] == "tool" else match["area"]
            linked = {word for word in re.findall(r"\blora_(\w+)", match["arguments"]) if word in LEVEL}
            included = included_areas(repository, area)
            where = f"{name}:{line_of(text, match.start())}: {area}"
            for missing in sorted(included - linked):
                yield f"{where} includes headers of {missing}, but does not link lora_{missing}"
            for extra in sorted(linked - included):
                yield f"{where} links lora_{extra}, but includes no header of {extra}"


def check_folder(repository, folder):
    for entry in sorted(folder.iterdir()):
        name = entry.relative_to(repository).as_posix()
        if entry.is_file():
            if entry.suffix in SOURCES:
                yield f"{name}:1: stands outside every area"
        elif entry.name not in LEVEL and not (folder.name == "src" and entry.name in NOT_AREAS):
            yield f"{name}:1: an area that the table of layers does not know"
        elif entry.name in LEVEL:
            for file in sorted(entry.rglob("*")):
                if file.is_file() and file.suffix in SOURCES:
                    yield from check_file(repository, file, entry.name)


def check_repository(repository):
    """Every finding, as lines."""
    found = [line for folder in ("include/lora", "src") for line in check_folder(repository, repository / folder)]
    return found + list(check_links(repository))


def main():
    if len(sys.argv) != 2 or not (pathlib.Path(sys.argv[1]) / "src").is_dir():
        print("usage: check_layers.py REPOSITORY (a folder with include/lora and src)", file=sys.stderr)
        return 2
    findings = check_repository(pathlib.Path(sys.argv[1]).resolve())
    for line in findings:
        print(line)
    print(f"{len(findings)} finding(s) in include/lora and src")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
