#!/usr/bin/env python3
"""Fails on rules of CONTRIBUTING.md about length, includes, messages and words that neither the compiler nor clang-format checks.

    check_style.py REPOSITORY

Prints "file:line: what is wrong" for each finding; exit code 1 if there is one, 2 if REPOSITORY holds no sources.
"""
import pathlib
import re
import sys

from check_layers import HEADERS, INCLUDE, SOURCES, blank, line_of

MOST_LINES_OF_FILE = 400
MOST_LINES_OF_FUNCTION = 40
MOST_CHARACTERS_OF_LINE = 140
RAW_STRING = re.compile(r'R"([^()\\\s]*)\(.*?\)\1"', re.DOTALL)
FOLDERS = ("include", "src", "tests", "scripts", "cmake")
NOT_OURS = ("tests/data/",)
TEXT_FILES = SOURCES | {".py", ".sh", ".cmake"}

# Words that stand for something else in English, and what to write.
WORDS = {
    r"\b(?:un)?learnt\b": "trained, or supervised",
    r"\bbeside\b": "with, next to or along with",
    r"\bgo(?:es|ne|ing)? on with\b": "continue with or resume",
    r"\bOf what\b": "a sentence with a subject and a verb",
    r"\bof_what_\w*": "what it is",
    r"\bwanted\b": "needed or requested",
}
WORD_FILES = {".h", ".cpp", ".cu", ".cuh", ".inc"}
THIS_CHECK = ("tests/layers/check_style.py", "tests/layers/test_check_style.py")

# Folders within an area that have a namespace of their own, because their names would clash with the area's.
NESTED_NAMESPACES = {"src/tokenizer/jinja": "lora::tokenizer::jinja", "src/ops/cpu": "lora::ops::cpu"}
FORWARD_DECLARATIONS = re.compile(r"(?:\s*(?:class|struct) \w+;)+\s*\}")

MESSAGE = re.compile(r"\b(?:\w+_error|log::(?:info|warn|error))\(")
STRING = re.compile(r'"((?:\\.|[^"\\\n])*)"')
TYPE_OR_NAMESPACE = re.compile(r"^\s*(?:template\s*<.*>\s*)?(?:inline\s+)?(?:namespace|struct|class|union|enum|extern)\b[^()=]*$", re.DOTALL)


def functions(code):
    """(begin, end) of every function that is defined in a namespace or a type; `code` has no comments, strings or directives."""
    stack, begin = [], 0  # a scope is True if functions may be defined in it
    for match in re.finditer(r"[{};]", code):
        at, mark = match.start(), match.group(0)
        if mark == "{":
            head = code[begin:at]
            is_scope = (not stack or stack[-1][0]) and TYPE_OR_NAMESPACE.match(head) is not None
            is_function = not is_scope and (not stack or stack[-1][0]) and ")" in head and "=" not in re.sub(r"\boperator\W+|[<>=!]=|\(.*\)", "", head, flags=re.DOTALL)
            stack.append((is_scope, is_function, begin + len(head) - len(head.lstrip())))
        elif mark == "}" and stack:
            _, is_function, start = stack.pop()
            if is_function:
                yield start, at
        begin = at + 1


def lines_of_code(code, begin, end):
    """The lines of a function. A table in it counts as one line."""
    lines = code.count("\n", begin, end) + 1
    for table in re.finditer(r"\bstatic const(?:expr)? [^;(){}]*\{", code[begin:end]):
        depth, at = 1, begin + table.end()
        while depth > 0 and at < end:
            depth += {"{": 1, "}": -1}.get(code[at], 0)
            at += 1
        lines -= code.count("\n", begin + table.start(), at)
    return lines


def argument_end(text, begin):
    """The position of the parenthesis that closes the call whose arguments begin at `begin`."""
    depth, at = 1, begin
    while depth > 0 and at < len(text):
        string = STRING.match(text, at)
        if string:
            at = string.end()
            continue
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return at - 1


def messages(text):
    """(position, message, whether its end is known) of every error and log line; expressions are shown as …"""
    for call in MESSAGE.finditer(text):
        end = argument_end(text, call.end())
        arguments = text[call.end():end]
        literals = list(STRING.finditer(arguments))
        if literals and " ? " not in STRING.sub("", arguments):
            message, last = "", 0
            for literal in literals:
                between = arguments[last:literal.start()]
                message += ("…" if last and between.strip() else "") + literal.group(1)
                last = literal.end()
            yield call.start(), message, not arguments[last:].strip(" )\n")


def check_messages(text):
    for position, message, has_end in messages(text):
        ends_an_expression = re.search(r"…[^ ]*$", message) is not None  # whose text may have sentences of its own
        if not has_end or ends_an_expression or message.endswith(("\\n", ": ")):
            continue
        several = re.search(r"[.?!]\)? [A-Z…\"'(\[]", message) is not None
        if several and not re.search(r"[.?!:;)\"']$", message):
            yield position, f"a message of several sentences ends each of them with a full stop: '…{message[-40:]}'"
        if not several and re.search(r"[^.]\.$", message) and "…." not in message[-2:]:
            yield position, f"a message of one sentence has no full stop at its end: '…{message[-40:]}'"


def check_lengths(name, text):
    lines = text.count("\n")
    if lines > MOST_LINES_OF_FILE:
        yield 0, f"{lines} lines, expected at most {MOST_LINES_OF_FILE} a file"
    if name.startswith(("include/", "src/")):
        code = re.sub(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", lambda m: re.sub(r"[^\n]", " ", m.group(0)), blank(text, keep_strings=False), flags=re.MULTILINE)
        for begin, end in functions(code):
            length = lines_of_code(code, begin, end)
            if length > MOST_LINES_OF_FUNCTION:
                yield begin, f"a function of {length} lines, expected at most {MOST_LINES_OF_FUNCTION}"


def check_lines(text):
    """Long lines, without what is in raw strings, which cannot be divided."""
    counted = RAW_STRING.sub(lambda match: "\n" * match.group(0).count("\n"), text)
    begin = 0
    for line, counted_line in zip(text.split("\n"), counted.split("\n")):
        if len(counted_line) > MOST_CHARACTERS_OF_LINE:
            yield begin, f"a line of {len(counted_line)} characters, expected at most {MOST_CHARACTERS_OF_LINE}"
        begin += len(line) + 1


def check_includes(repository, name, text):
    """A source includes its own header first; private headers are named from src/ on, those of tests from tests/ or their own folder."""
    path = pathlib.PurePath(name)
    includes = [(match.start(1), match.group(2)) for match in INCLUDE.finditer(blank(text, keep_strings=True)) if match.group(1) == '"']
    if path.parts[0] == "src":
        for position, included in includes:
            if "/" not in included:
                yield position, f"includes \"{included}\": name it from src/ on"
    if path.suffix == ".cpp" and path.parts[0] == "src" and includes:
        inner = path.relative_to("src").with_suffix(".h").as_posix()
        own = [header for header, where in ((inner, "src"), ("lora/" + inner, "include")) if (repository / where / header).is_file()]
        if own and includes[0][1] not in own:
            yield includes[0][0], f"includes \"{includes[0][1]}\" first, expected its own header, \"{own[0]}\""


def check_words(name, text):
    if pathlib.PurePath(name).suffix in WORD_FILES:
        for pattern, advice in WORDS.items():
            for match in re.finditer(pattern, text):
                yield match.start(), f"'{match.group(0)}': write {advice}"


def own_namespace(path):
    """The namespace of a file's folder: that of its area, or of a folder that is a language of its own."""
    area = path.parts[2] if path.parts[0] == "include" else path.parts[1]
    nested = NESTED_NAMESPACES.get(path.parent.as_posix())
    return nested or ("lora" if area == "base" else "lora::" + area)


def check_layout(name, text):
    for match in re.finditer(r"^namespace \{\n(?!\n)", text, re.MULTILINE):
        yield match.start(), "expected a blank line after 'namespace {'"
    path = pathlib.PurePath(name)
    if path.parts[0] in ("include", "src"):
        expected = own_namespace(path)
        for match in re.finditer(r"^namespace (lora[\w:]*) \{", text, re.MULTILINE):
            is_own = match.group(1) == expected or match.group(1).startswith(expected + "::")
            if not is_own and not FORWARD_DECLARATIONS.match(text, match.end()):
                yield match.start(), f"namespace {match.group(1)}, expected {expected}, the namespace of its folder"


ANONYMOUS = re.compile(r"^namespace \{\n(.*?)^\}  // namespace$", re.DOTALL | re.MULTILINE)
DEFINED_TYPE = re.compile(r"(?:struct|class|enum class|enum) (\w+)|using (\w+) = ")
DEFINED_VALUE = re.compile(r"[\w:<>,&*\s\[\]()]*?[\s&*](\w+)\s*[(={\[;]")
NO_NAMES = ("const", "override", "noexcept")  # the end of a member function's head
NO_DEFINITION = ("//", "}", "#", ")", "namespace", "extern", " ")


def anonymous_names(text):
    """(position, name, line) of what a source defines in its anonymous namespaces."""
    for block in ANONYMOUS.finditer(text):
        for line in re.finditer(r"^.+$", block.group(1), re.MULTILINE):
            content = re.sub(r"^template <.*?> ", "", line.group(0))
            found = not content.startswith(NO_DEFINITION) and (DEFINED_TYPE.match(content) or DEFINED_VALUE.match(content))
            name = found and next(name for name in found.groups() if name)
            if name and name not in NO_NAMES:
                yield block.start(1) + line.start(), name, line.group(0)


def check_names(repository):
    """A release compiles several sources of an area as one: names of their anonymous namespaces must differ. An alias may be repeated."""
    for area in sorted([*(repository / "src").glob("*"), *(repository / "tests").glob("*")]):
        known = {}  # name -> (file, line) of its first definition
        for file in sorted(area.rglob("*.cpp")):
            text = file.read_text(encoding="utf-8")
            for position, name, line in anonymous_names(text):
                first, first_line = known.setdefault(name, (file, line))
                if first != file and (line != first_line or not line.startswith("using ")):
                    yield (f"{file.relative_to(repository).as_posix()}:{line_of(text, position)}: {name} is defined in an anonymous namespace of "
                           f"{first.name} too: sources of one area are compiled together")


def check_file(repository, file):
    name = file.relative_to(repository).as_posix()
    text = file.read_text(encoding="utf-8")
    found = list(check_lengths(name, text))
    if file.suffix in SOURCES:
        found += check_lines(text)
        found += check_includes(repository, name, text)
        found += check_layout(name, text)
        found += check_words(name, text)
        if name.startswith(("include/", "src/")):
            found += check_messages(blank(text, keep_strings=True))
    return [f"{name}:{line_of(text, position)}: {finding}" for position, finding in sorted(found)]


def check_repository(repository):
    """Every finding, as lines."""
    findings = []
    for folder in FOLDERS:
        for file in sorted((repository / folder).rglob("*")):
            name = file.relative_to(repository).as_posix()
            if file.is_file() and file.suffix in TEXT_FILES and not name.startswith(NOT_OURS) and name not in THIS_CHECK:
                findings += check_file(repository, file)
    return findings + list(check_names(repository))


def main():
    if len(sys.argv) != 2 or not (pathlib.Path(sys.argv[1]) / "src").is_dir():
        print("usage: check_style.py REPOSITORY (a folder with src)", file=sys.stderr)
        return 2
    findings = check_repository(pathlib.Path(sys.argv[1]).resolve())
    for line in findings:
        print(line)
    print(f"{len(findings)} finding(s)")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
