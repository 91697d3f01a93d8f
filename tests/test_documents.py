"""What the documents show exists: links, commands, options, settings, variables, files."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import tomllib
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

import dropscribe
from dropscribe import settings
from dropscribe.cli.parser import build_parser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
FOLDERS = (".github", "config", "daemon", "packaging", "tests")
DOCUMENTS = [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))]
IDS = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
PACKAGE = ROOT / "daemon/dropscribe"
DESIGN = ROOT / "daemon/README.md"
README_BYTES = 9_000
"""More than this nobody reads to its end."""
PATH = re.compile(rf"(?<![\w./~-])(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]+")
"""A file or folder of the repository, named in a document's code."""


def tokens(document: Path) -> list[Token]:
    parsed = MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8"))
    return [inner for token in parsed for inner in (token, *(token.children or ()))]


def headings(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    found: Counter[str] = Counter()
    anchors = set()
    parsed = MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8"))
    for before, inline in pairwise(parsed):
        if before.type == "heading_open":
            text = "".join(t.content for t in inline.children or () if t.type in {"text", "code_inline"})
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            anchors.add(f"{slug}-{found[slug]}" if found[slug] else slug)
            found[slug] += 1
    return anchors


def links(document: Path) -> list[str]:
    return [
        str(token.attrs.get("href") or token.attrs.get("src"))
        for token in tokens(document)
        if token.type in {"link_open", "image"}
    ]


def code(document: Path) -> Iterator[str]:
    """Yield each line of code blocks for a shell, and each piece of code in the text."""
    for token in tokens(document):
        if token.type == "fence" and token.info == "sh":
            yield from token.content.splitlines()
        elif token.type == "code_inline":
            yield token.content


def commands(document: Path) -> list[str]:
    return [line.strip() for line in code(document) if line.strip().startswith("dropscribe ")]


def problem(command: str) -> str:
    """Return what the parser has against a command; a missing argument is fine: documents leave them out."""
    words = shlex.split(command, comments=True)[1:]
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            build_parser().parse_args(words)
        except SystemExit as ended:
            if ended.code and not re.search("(is|are) required", errors.getvalue()):
                return errors.getvalue().strip().rpartition("\n")[2]
    return ""


def flat(table: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict) and prefix + key not in settings.KEYS:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def documented_settings(document: Path) -> list[str]:
    """Return the first cells of the tables whose first column is headed `setting`."""
    found, inside = [], False
    for line in document.read_text(encoding="utf-8").splitlines():
        first = line.split("|")[1].strip() if line.startswith("|") else ""
        inside = first == "setting" or (inside and bool(first))
        if inside and first.startswith("`"):
            found.append(first.strip("`"))
    return found


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").stat().st_size <= README_BYTES


def test_the_readmes_first_commands_need_only_python() -> None:
    blocks = [token.content.strip() for token in tokens(ROOT / "README.md") if token.type == "fence"]
    assert blocks[:2] == ["python3 packaging/bootstrap.py demo", "python3 packaging/bootstrap.py test"]


def test_the_readmes_picture_is_small() -> None:
    pictures = [str(t.attrs["src"]) for t in tokens(ROOT / "README.md") if t.type == "image"]
    assert pictures
    assert all((ROOT / picture).stat().st_size < 80_000 for picture in pictures)


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for link in links(document):
        address = urlsplit(link)
        if address.scheme:
            continue
        target = (document.parent / unquote(address.path)).resolve() if address.path else document
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if address.fragment:
            assert address.fragment in headings(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_every_document_is_reached_from_the_readme(document: Path) -> None:
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        current = ahead.pop()
        if current in reached:
            continue
        reached.add(current)
        targets = ((current.parent / urlsplit(link).path).resolve() for link in links(current) if "://" not in link)
        ahead += [target for target in targets if target.suffix == ".md"]
    # Whoever opens a folder of a document that is reached sees the folders below it.
    above = [folder / "README.md" for folder in document.parent.parents if folder.is_relative_to(ROOT / "tests")]
    assert reached.intersection([document, *above])


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_every_command_and_option_shown_exists(document: Path) -> None:
    assert {command: error for command in commands(document) if (error := problem(command))} == {}


def test_a_command_that_does_not_exist_would_be_found() -> None:
    assert "invalid choice" in problem("dropscribe listen")
    assert "unrecognized arguments" in problem("dropscribe status --louder")
    assert "invalid choice" in problem("dropscribe service explode")
    assert problem("dropscribe retry") == ""
    assert len(commands(ROOT / "README.md")) > 10


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_every_variable_named_exists(document: Path) -> None:
    named = set(re.findall(rf"{settings.PREFIX}([A-Z_]*[A-Z])", document.read_text(encoding="utf-8")))
    known = settings.RESERVED | {name.upper() for name in settings.FIELDS}
    assert {name for name in named - known if not name.startswith(settings.FACT.rstrip("_"))} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_every_file_named_in_code_exists(document: Path) -> None:
    named = {found.rstrip(".") for line in code(document) for found in PATH.findall(line)}
    assert {name for name in named if not (ROOT / name).exists()} == set()


def modules_in(folder: Path) -> list[str]:
    """Return the names of a folder's modules and packages, but for those with underscores around."""
    packages = [path.parent.name for path in folder.glob("*/__init__.py")]
    return sorted(packages + [path.stem for path in folder.glob("*.py") if not path.stem.startswith("__")])


def test_every_module_named_in_the_design_exists() -> None:
    text = DESIGN.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:\[(\w+)\]\(dropscribe/\w+\)|base modules) \| (.*) \|$", text, re.MULTILINE)
    named = {folder: set(re.findall(r"`([a-z_]+)`", cell)) for folder, cell in rows}
    for folder, modules in named.items():
        assert modules <= set(modules_in(PACKAGE / folder)), folder or "base modules"
    assert sorted([*filter(None, named), *named[""]]) == modules_in(PACKAGE)


@pytest.mark.parametrize("package", ["supervisor", "worker"])
def test_the_design_says_what_each_module_does_and_names_no_other(package: str) -> None:
    section = DESIGN.read_text(encoding="utf-8").split(f"\n### Modules of the {package}\n")[1].split("\n#")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == modules_in(PACKAGE / package)


def test_the_drawing_of_the_layers_is_the_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (each for each in project["tool"]["importlinter"]["contracts"] if each["id"] == "layers")
    section = DESIGN.read_text(encoding="utf-8").split("\n## Modules\n")[1]
    drawing = section.split("```\n")[1].splitlines()
    assert [re.split(r"  +", line)[0] for line in drawing] == contract["layers"]


def test_the_drawing_of_the_supervisor_names_only_its_modules() -> None:
    section = DESIGN.read_text(encoding="utf-8").split("\n### Modules of the supervisor\n")[1]
    lines = [line.split("  ") for line in section.split("```\n")[1].splitlines()]
    chains = [part for line in lines for part in line if "─►" in part]
    named = {word for chain in chains for word in re.findall(r"─► (\w+)", chain)}
    assert len(named) > 10
    assert named <= {*modules_in(PACKAGE / "supervisor"), *modules_in(PACKAGE)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_every_example_of_settings_can_be_read(document: Path) -> None:
    for token in tokens(document):
        if token.type == "fence" and token.info == "toml":
            assert set(flat(tomllib.loads(token.content))) <= settings.KEYS.keys()


def test_every_setting_is_documented_once_and_none_is_invented() -> None:
    assert sorted(documented_settings(ROOT / "config/README.md")) == sorted(settings.KEYS)


@pytest.mark.parametrize(
    ("document", "heading"), [("config/README.md", "## Formats"), ("config/README.md", "## Hooks")]
)
def test_every_format_and_fact_is_documented(document: str, heading: str) -> None:
    section = (ROOT / document).read_text(encoding="utf-8").split(f"\n{heading}\n")[1].split("\n## ")[0]
    named = {
        name
        for cell in re.findall(r"^\| ([^|]*) \|", section, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", cell)
    }
    if heading == "## Formats":
        assert named == set(settings.FORMATS)
    else:
        assert {"event", "id", "source", "transcript", "code", "reason"} <= named


def test_the_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    newest = re.search(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest
    assert project["version"] == dropscribe.__version__ == newest[1]


def test_no_module_of_the_package_is_over_500_lines() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {str(path.relative_to(PACKAGE)): length for path, length in lengths.items() if length > 500} == {}
