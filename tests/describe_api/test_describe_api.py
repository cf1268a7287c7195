"""The pages about every public name: nothing is missing there, unsaid, or no longer so."""

import ast
import re
from collections.abc import Iterator

import pytest

from simulator.describe_faults import entries, sections
from simulator.faults import FAULTS
from tests.describe_api.chapters import DOCS, INNER, PAGES, PUBLIC, Page
from tests.describe_api.definitions import Definition, Function, exported, find
from tests.describe_api.page import Entry, entries_of, members, methods, page, slugs

ENTRIES = [each for this in PAGES for chapter in this.chapters for each in entries_of(chapter)]

ELSEWHERE = re.compile(r"see `|arguments are those of `|arguments are the fields")
"""By this a docstring says that another one has the arguments."""

NAMED_ONLY = {"Dialect", "Headers", "JobError", "Progression", "RuleOptions", "Secrets"}
"""Types of ours which a signature names, and of which a reader need not know more."""


def pages() -> pytest.MarkDecorator:
    """Run a test for each page."""
    return pytest.mark.parametrize("this", PAGES, ids=[each.path for each in PAGES])


def test_every_public_name_is_described() -> None:
    """Whatever a public module exports has its place, the faults in a list of their own."""
    places = {(each.found.module.name, each.found.name) for each in ENTRIES}
    listed = {("simulator.faults", kind.__name__) for kind in FAULTS.values()}
    missing = []
    for module in PUBLIC:
        for name in exported(module):
            found = find(module, name)
            where = (found.module.name, found.name) if found else (module, name)
            if where not in places and (module, name) not in listed:
                missing.append(f"{module}.{name}")
    assert missing == []


@pages()
def test_page_is_up_to_date(this: Page) -> None:
    """A page is what `python -m tests.describe_api` writes."""
    assert (DOCS / this.path).read_text(encoding="utf-8") == page(this)


@pages()
def test_links_lead_somewhere(this: Page) -> None:
    """Each link of a page ends at a heading, of this page or of another one."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")}
    heading = re.compile(r"^#+ (.+)$", flags=re.MULTILINE)
    anchors = {name: slugs(heading.findall(text)) for name, text in texts.items()}
    for path, slug in re.findall(r"\]\(([\w./-]*)#?([\w-]*)\)", page(this)):
        assert (path or this.path) in anchors, path
        assert not slug or slug in anchors[path or this.path], f"{path}#{slug}"


def described() -> Iterator[tuple[Entry, Definition]]:
    """Yield each function and class that the pages describe."""
    for entry in ENTRIES:
        yield entry, entry.found
        if isinstance(entry.found.node, ast.ClassDef):
            for each in methods(entry.found):
                yield entry, each


def test_every_argument_has_a_meaning() -> None:
    """What a call takes is said in its docstring, or in the one that this names."""
    unsaid = []
    for entry, found in described():
        takes: Definition | None = found
        doc = found.doc
        if isinstance(found.node, ast.ClassDef):
            takes = next((each for each in found.functions if each.name == "__init__"), None)
        elif isinstance(found.node, Function) and "classmethod" in found.decorators:
            doc += entry.found.doc
        is_called = entry.has_heading and not found.is_handed_out
        if takes is None or not isinstance(takes.node, Function) or not is_called:
            continue
        said = entries(sections(found.doc).get("Args", ""))
        names = {each.name.strip("*") for each in takes.parameters()} - {""}
        if names != said.keys() and not ELSEWHERE.search(" ".join(doc.split())):
            unsaid.append(f"{entry.name}: {found.name}: {sorted(names ^ said.keys())}")
    assert not unsaid, "\n".join(unsaid)


def test_every_field_has_a_meaning() -> None:
    """What a value holds is said below each field, or in the docstring of its class."""
    unsaid = [
        f"{entry.name}.{name}"
        for entry, found in described()
        if isinstance(found.node, ast.ClassDef)
        for name, (_, text) in members(found).items()
        if not text and name != "retryable"  # of which the page says more than each error does
    ]
    assert not unsaid, "\n".join(unsaid)


def test_every_type_is_described() -> None:
    """A type of ours in a signature is on the pages, or is of no concern."""
    known = {each.found.name for each in ENTRIES}
    unknown = set()
    for _, found in described():
        kinds = []
        if isinstance(found.node, ast.ClassDef):
            kinds += [member.kind for member, _ in members(found).values()]
        elif isinstance(found.node, Function):
            kinds += [found.returns, *(each.kind for each in found.parameters())]
        for word in re.findall(r"[A-Z]\w+", " ".join(kinds)):
            if find(found.module.name, word) and word not in known | NAMED_ONLY:
                unknown.add(f"{found.module.name}: {found.name}: {word}")
    assert not unknown, "\n".join(sorted(unknown))


def test_what_is_left_out_is_there() -> None:
    """Names that the pages leave out have not gone without taking their place in the list along."""
    classes = {each.found.name: each.found for each in ENTRIES}
    for name, inner in INNER.items():
        assert inner, name
        text = ast.unparse(classes[name].node)
        base = classes[name].own_base
        text += ast.unparse(base.node) if base else ""
        assert [each for each in inner if each not in text] == []
