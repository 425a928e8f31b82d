#!/usr/bin/env python3
"""Fails where a program or module could load a library from the current folder, or lacks a protection of cmake/Toolchain.cmake.

    check_binaries.py --build FOLDER --build-type TYPE --cmake CMAKE --readelf READELF BINARY…

Looks at each binary as it was built and as `cmake --install` writes it. Prints "file: what is wrong" for each finding.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile


def facts(readelf, binary):
    """What readelf shows of a file: header, program headers, dynamic section and dynamic symbols."""
    return subprocess.run([readelf, "-hldW", "--dyn-syms", binary], check=True, capture_output=True, text=True).stdout


def search_path_faults(shown):
    for paths in re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", shown):
        for entry in paths.split(":"):
            if not entry.startswith(("/", "$ORIGIN")):
                yield f"looks for libraries in '{entry or 'the current folder'}': every entry of '{paths}' must be absolute or begin with $ORIGIN"


def linking_faults(shown, is_program):
    if not re.search(r"\bGNU_RELRO\b", shown):
        yield "has no GNU_RELRO segment (-Wl,-z,relro)"
    if not re.search(r"\(BIND_NOW\)|\bFLAGS(_1)?\).*\b(BIND_)?NOW\b", shown):
        yield "binds functions when they are first called (-Wl,-z,now is missing)"
    if re.search(r"\bGNU_STACK\b.*\bRWE\b", shown):
        yield "has an executable stack"
    if is_program and not re.search(r"\(FLAGS_1\).*\bPIE\b", shown):
        yield "is not position-independent (-fPIE -pie)"


def code_faults(shown, build_type):
    if "__stack_chk_fail" not in shown:
        yield "has no stack protector (-fstack-protector-strong)"
    if build_type == "Release":
        if not re.search(r"\b__(?!stack)\w+_chk\b", shown):
            yield "has no fortified functions (_FORTIFY_SOURCE)"
        if "__glibcxx_assert_fail" not in shown:
            yield "has no assertions of libstdc++ (_GLIBCXX_ASSERTIONS)"


def faults(readelf, binary, build_type):
    shown = facts(readelf, binary)
    is_program = not str(binary).endswith(".so")
    found = [*search_path_faults(shown), *linking_faults(shown, is_program)]
    return found + (list(code_faults(shown, build_type)) if is_program else [])


def opened_by_relative_path(command, folder):
    """Files that the loader tries by a relative path while a command runs in `folder`."""
    run = subprocess.run(command, cwd=folder, env={**os.environ, "LD_DEBUG": "libs"}, capture_output=True, text=True, check=False)
    tried = re.findall(r"trying file=(\S*)", run.stderr)
    return tried, [file for file in tried if not file.startswith("/")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--build-type", default="")
    parser.add_argument("--cmake", required=True)
    parser.add_argument("--readelf", required=True)
    parser.add_argument("binaries", nargs="+", type=pathlib.Path)
    options = parser.parse_args()
    findings = []
    with tempfile.TemporaryDirectory() as prefix:
        subprocess.run([options.cmake, "--install", options.build, "--prefix", prefix, "--component", "programs"], check=True, capture_output=True)
        installed = [path for path in pathlib.Path(prefix).rglob("*") if path.is_file()]
        missing = {binary.name for binary in options.binaries} - {path.name for path in installed}
        findings += [f"{name}: is not installed" for name in sorted(missing)]
        for binary in options.binaries + installed:
            findings += [f"{binary}: {fault}" for fault in faults(options.readelf, binary, options.build_type)]
        for program in (binary for binary in options.binaries if binary.suffix != ".so"):
            tried, relative = opened_by_relative_path([program, "--version"], prefix)
            findings += [f"{program}: looks for a library at {file}" for file in relative]
            findings += [] if tried else [f"{program}: the loader did not say where it looks for libraries"]
    print("\n".join(findings))
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
