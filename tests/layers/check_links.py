#!/usr/bin/env python3
"""Fails on a link of the documents that leads nowhere, and on a README that is longer than a newcomer reads.

    check_links.py REPOSITORY

Checked are, in every Markdown file outside tests and build: relative links and their headings, and files of this repository that
are named in the text (configs/x.json, src/a/b.cpp); in docs/troubleshooting.md that each message quoted in a heading is in a source;
in README.md the number of lines, their length, and words per table cell.
Prints "file:line: what is wrong" for each finding; exit code 1 if there is one, 2 if REPOSITORY has no README.md.
"""
import os
import pathlib
import re
import sys

README_LINES, README_LINE_LENGTH, README_CELL_WORDS = 120, 140, 25
LINK = re.compile(r"\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")
NAMED_FILE = re.compile(r"(?<![\w/.-])(?:configs|docs|include|scripts|src|tests)/[\w./-]*\.(?:cpp|h|inc|json|md|py|sh|txt)\b")
HEADING = re.compile(r"^#{1,6} +(.*?) *$")
SKIPPED = {"build", "tests", ".deps", ".git"}


def documents(repository):
    for folder, folders, files in os.walk(repository):
        folders[:] = sorted(set(folders) - SKIPPED)
        yield from (pathlib.Path(folder, name) for name in sorted(files) if name.endswith(".md"))


def prose(text):
    """The lines with their numbers; those of code blocks are empty."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            inside = not inside
        yield number, "" if inside or line.startswith(("```", "    ")) else line


def anchor(heading):
    """GitHub's name for a heading: lower case, without punctuation, hyphens for spaces."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(file):
    found = set()
    for _, line in prose(file.read_text(encoding="utf-8")):
        heading = HEADING.match(line)
        if heading:
            name, count = anchor(heading.group(1)), 0
            while (name if count == 0 else f"{name}-{count}") in found:
                count += 1
            found.add(name if count == 0 else f"{name}-{count}")
    return found


def check_link(file, target):
    """What is wrong with a link of `file`, or None."""
    if re.match(r"[a-z]+:", target):
        return None
    path, _, heading = target.partition("#")
    there = (file.parent / path).resolve() if path else file
    if not there.exists():
        return f"links to {target}: there is no such file"
    if heading and (there.suffix != ".md" or heading not in anchors(there)):
        return f"links to {target}: there is no such heading"
    return None


def check_document(repository, file):
    name = file.relative_to(repository).as_posix()
    text = file.read_text(encoding="utf-8")
    for number, line in prose(text):
        for match in LINK.finditer(line):
            finding = check_link(file, match.group(1))
            if finding:
                yield f"{name}:{number}: {finding}"
    for number, line in enumerate(text.splitlines(), 1):
        for match in NAMED_FILE.finditer(LINK.sub("", line)):
            if not (repository / match.group(0)).exists():
                yield f"{name}:{number}: names {match.group(0)}: there is no such file"


def check_readme(file):
    lines = file.read_text(encoding="utf-8").splitlines()
    if len(lines) > README_LINES:
        yield f"README.md:{len(lines)}: has {len(lines)} lines, expected at most {README_LINES}: move something to a page in docs"
    for number, line in enumerate(lines, 1):
        if len(line) > README_LINE_LENGTH:
            yield f"README.md:{number}: has {len(line)} characters, expected at most {README_LINE_LENGTH}"
        if line.startswith("|"):
            longest = max(len(cell.split()) for cell in line.split("|"))
            if longest > README_CELL_WORDS:
                yield f"README.md:{number}: has a cell of {longest} words, expected at most {README_CELL_WORDS}"


def quotes(heading):
    """The messages that a heading quotes, without [place] and in the parts between "…"."""
    for quoted in re.findall(r"`([^`]*)`", heading):
        for part in re.sub(r"^\[[^\]]*\]", "", quoted).split("…"):
            if len(part.strip(' "')) > 4:
                yield part.strip(' "')


def check_quotes(repository):
    page = repository / "docs/troubleshooting.md"
    if not page.is_file():
        return
    sources = "".join(file.read_text(encoding="utf-8") for file in sorted((repository / "src").rglob("*.cpp")))
    sources = re.sub(r'"\s*\n\s*"', "", sources)
    for number, line in prose(page.read_text(encoding="utf-8")):
        for quote in quotes(line) if line.startswith("### ") else ():
            if quote not in sources:
                yield f"docs/troubleshooting.md:{number}: quotes '{quote}', which no source has"


def check_repository(repository):
    """Every finding, as lines."""
    findings = [line for file in documents(repository) for line in check_document(repository, file)]
    return findings + list(check_quotes(repository)) + list(check_readme(repository / "README.md"))


def main():
    if len(sys.argv) != 2 or not (pathlib.Path(sys.argv[1]) / "README.md").is_file():
        print("usage: check_links.py REPOSITORY (a folder with README.md)", file=sys.stderr)
        return 2
    findings = check_repository(pathlib.Path(sys.argv[1]).resolve())
    for line in findings:
        print(line)
    print(f"{len(findings)} finding(s) in the documents")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
