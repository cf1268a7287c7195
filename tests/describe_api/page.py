"""Write the pages: each public name with its signature, and what it takes, returns and raises."""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from simulator.describe_faults import entries, index, sections
from tests.describe_api.chapters import INNER, PAGES, PUBLIC, Chapter, Page
from tests.describe_api.definitions import Definition, Function, Member, exported, find

__all__ = ["Entry", "entries_of", "members", "methods", "page", "slugs"]

_KINDS = {
    "NamedTuple": "A named tuple",
    "Protocol": "A protocol",
    "StrEnum": "An enum of strings",
    "TypedDict": "A typed dict",
}

_CODE = re.compile(r"`([\w.]+)`")
_PATH = re.compile(r"\bdocs/([\w-]+\.md)")


class Entry(NamedTuple):
    """A name that has a place on a page."""

    page: Page
    chapter: Chapter
    name: str
    """As a reader says it: `AsyncClient.watch`."""
    found: Definition
    is_imported: bool
    """Whether users import it; of other things they only get to see objects."""

    @property
    def has_heading(self) -> bool:
        """Whether it has a heading of its own, and not only a line in its chapter."""
        return self.chapter.form in ("whole", "short")

    @property
    def anchor(self) -> str:
        """Where on the page it is."""
        return _anchors(self.page)[self.name if self.has_heading else self.chapter.title]


def page(this: Page) -> str:
    """Return a page."""
    parts = [f"# {this.title}\n", f"{this.intro}\n", *_contents(this)]
    for chapter in this.chapters:
        parts += [f"## {chapter.title}\n", f"{chapter.intro}\n"]
        for entry in entries_of(chapter):
            parts += _FORMS[chapter.form](entry)
        parts += ["", *([f"{index()}\n"] if chapter.module == "simulator.faults" else ())]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


# What there is to say.


@cache
def entries_of(chapter: Chapter) -> tuple[Entry, ...]:
    """Return what a chapter names, in its order."""
    this = next(each for each in PAGES if chapter in each.chapters)
    found = []
    for full in chapter.names:
        origin, _, name = full.rpartition(":")
        owner, _, method = name.rpartition(".")
        definition = find(origin or chapter.module, owner or name)
        assert definition is not None, f"{origin or chapter.module} has no {name}"
        if owner:
            definition = _functions(definition)[method]
        found.append(Entry(this, chapter, name, definition, is_imported=not origin))
    return tuple(found)


def methods(found: Definition) -> list[Definition]:
    """Return the methods of a class that a reader may call, those of private bases included."""
    inner = INNER.get(found.name, set())
    return [
        each
        for name, each in _functions(found).items()
        if not name.startswith("_") and name not in inner and "property" not in each.decorators
    ]


def members(found: Definition) -> dict[str, tuple[Member, str]]:
    """Return the fields and properties of a class by name, each with its meaning."""
    said = entries(sections(found.doc).get("Attributes", ""))
    described = said | entries(sections(found.doc).get("Args", ""))
    base = _hidden_base(found)
    shown = members(base) if base else {}
    shown |= {each.name: (each, each.doc or described.get(each.name, "")) for each in found.fields}
    for each in found.functions:
        if "property" in each.decorators and not each.name.startswith("_"):
            shown[each.name] = Member(each.name, each.returns, "", ""), each.doc
    # What an error is given has no type of its own: its constructor is nobody's concern.
    shown |= {name: (Member(name, "", "", ""), said[name]) for name in said if name not in shown}
    return {name: pair for name, pair in shown.items() if name not in INNER.get(found.name, set())}


def _hidden_base(found: Definition) -> Definition | None:
    """Return the base of a class that has no place of its own on the page."""
    base = found.own_base
    return base if base and not any(base.name in exported(module) for module in PUBLIC) else None


def _functions(found: Definition) -> dict[str, Definition]:
    base = _hidden_base(found)
    return (_functions(base) if base else {}) | {each.name: each for each in found.functions}


@cache
def _own_methods(entry: Entry) -> tuple[Definition, ...]:
    """Return the methods that have headings below that of their class."""
    if not isinstance(entry.found.node, ast.ClassDef) or entry.chapter.form != "whole":
        return ()
    named = {name for each in entry.page.chapters for name in each.names}
    return tuple(each for each in methods(entry.found) if f"{entry.name}.{each.name}" not in named)


# Where it stands.


@cache
def _places() -> dict[str, list[tuple[Entry, str]]]:
    """Return the entries for each name that a docstring may use, each with its anchor."""
    places: dict[str, list[tuple[Entry, str]]] = {}
    for chapter in (chapter for each in PAGES for chapter in each.chapters):
        for entry in entries_of(chapter):
            places.setdefault(entry.name, []).append((entry, entry.anchor))
            for each in _own_methods(entry):
                name = f"{entry.name}.{each.name}"
                places.setdefault(name, []).append((entry, _anchors(entry.page)[name]))
    return places


@cache
def _anchors(this: Page) -> dict[str, str]:
    """Return the anchor that GitHub gives each heading of a page."""
    headings = [this.title]
    for chapter in this.chapters:
        headings.append(chapter.title)
        for entry in entries_of(chapter) if chapter.form in ("whole", "short") else ():
            headings += [entry.name, *(f"{entry.name}.{each.name}" for each in _own_methods(entry))]
    return dict(zip(headings, slugs(headings), strict=True))


def slugs(headings: Iterable[str]) -> list[str]:
    """Return the anchors that GitHub gives the headings of a page; those that are alike count."""
    seen: Counter[str] = Counter()
    found = []
    for heading in headings:
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.append(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def _link(name: str, here: Entry) -> str:
    """Return where a name leads that stands in the docstring of an entry; empty for nowhere.

    What is written small and alone may mean many things, unless it is a method beside this one.
    """
    owner = here.name.partition(".")[0]
    known = _places().get(f"{owner}.{name}") or _places().get(name, [])
    near = [pair for pair in known if pair[0].chapter.module == here.chapter.module]
    [(entry, anchor)] = near[:1] or known[:1] or [(here, "")]
    is_plain = name.islower() and "." not in name
    if not anchor or entry is here or (is_plain and not near):
        return ""
    return f"{'' if entry.page is here.page else entry.page.path}#{anchor}"


def _linked(text: str, here: Entry) -> str:
    """Return a text, on one line, in which the names that a page describes lead there."""

    def link(code: re.Match[str]) -> str:
        target = _link(code[1], here)
        return f"[{code[0]}]({target})" if target else code[0]

    return _PATH.sub(r"[\1](\1)", _CODE.sub(link, " ".join(text.split())))


# How it is said.


def _contents(this: Page) -> Iterator[str]:
    yield "| chapter | names |\n|---|---|"
    for chapter in this.chapters:
        shown = []
        for entry in entries_of(chapter):
            short = f"`{re.sub(r'^AsyncClient(?=[.])', '', entry.name)}`"
            shown.append(f"[{short}](#{entry.anchor})" if entry.has_heading else short)
        yield f"| [{chapter.title}](#{_anchors(this)[chapter.title]}) | {', '.join(shown)} |"
    yield ""


def _heading(entry: Entry) -> Iterator[str]:
    yield f"### `{entry.name}`\n"
    if not entry.is_imported:
        yield f"*In `{entry.found.module.name}`; there is no need to import it.*\n"


def _whole(entry: Entry) -> Iterator[str]:
    yield from _heading(entry)
    if isinstance(entry.found.node, ast.ClassDef):
        yield from _class(entry)
        for each in _own_methods(entry):
            yield f"#### `{entry.name}.{each.name}`\n"
            yield from _function(each, entry)
    elif isinstance(entry.found.node, Function):
        yield from _function(entry.found, entry)
    else:
        yield _code(entry.found.source)
        yield from _prose(entry.found, entry)


def _short(entry: Entry) -> Iterator[str]:
    yield from _heading(entry)
    yield from _class(entry)
    for each in methods(entry.found):
        yield _item(each.call(), sections(each.doc)[""], entry)
    yield ""


def _branch(entry: Entry) -> Iterator[str]:
    """Write an error below its base, and say what it holds."""
    inside = {each.name for each in entries_of(entry.chapter)}
    line = [entry.found]
    while (base := line[-1].own_base) and base.name in inside:
        line.append(base)
    marks = [f"also `{base}`" for base in entry.found.bases if base not in {*inside, "Exception"}]
    fields = [field for each in line for field in each.fields]
    if any((field.name, field.default) == ("retryable", "True") for field in fields):
        marks.append("retryable")
    behind = f" ({', '.join(marks)})" if marks else ""
    said, depth = members(entry.found), len(line) - 1
    text = _linked(sections(entry.found.doc)[""], entry)
    indent = "  " * depth
    yield f"{indent}- **`{entry.name}`**{behind}: {text}"
    for member, meaning in said.values():
        if meaning:
            yield f"{indent}  {_item(f'.{member.name}', meaning, entry)}"


def _sentence(entry: Entry) -> Iterator[str]:
    """Write a name and what it is on one line; of a fixture, what it gives to a test."""
    kind = ""
    if isinstance(entry.found.node, Function):
        kind = ": " + re.sub(r"^Iterator\[(\w+)\]$", r"\1", entry.found.returns)
    yield _item(entry.name + kind, sections(entry.found.doc)[""], entry)


_FORMS = {"whole": _whole, "short": _short, "tree": _branch, "list": _sentence}


def _function(found: Definition, entry: Entry) -> Iterator[str]:
    yield _code(found.signature())
    yield from _prose(found, entry)
    yield from _arguments(found, entry)


def _class(entry: Entry) -> Iterator[str]:
    found = entry.found
    init = _functions(found).get("__init__")
    is_made_here = init is not None and not found.is_handed_out
    if init is not None and is_made_here:
        yield _code(init.signature(found.name))
    elif kind := _kind(found):
        yield f"*{kind}.*\n"
    yield from _prose(found, entry)
    if is_made_here:
        yield from _arguments(found, entry)
    shown = [_item(str(member), text, entry) for member, text in members(found).values()]
    if shown and is_made_here:
        yield "Attributes:\n"
    yield from [*shown, ""]
    if not is_made_here:
        yield from _raises(found, entry)


def _kind(found: Definition) -> str:
    plain = next((_KINDS[base] for base in found.bases if base in _KINDS), "")
    frozen = "A frozen value" if "frozen" in found.options else ""
    named = ", its fields given by name" if "kw_only" in found.options else ""
    return plain or (frozen + named if frozen else "")


def _code(text: str) -> str:
    return f"```python\n{text}\n```\n"


def _prose(found: Definition, entry: Entry) -> Iterator[str]:
    for paragraph in sections(found.doc)[""].split("\n\n"):
        yield (paragraph if paragraph.startswith("    ") else _linked(paragraph, entry)) + "\n"


def _arguments(found: Definition, entry: Entry) -> Iterator[str]:
    said = sections(found.doc)
    yield from [_item(*pair, entry) for pair in entries(said.get("Args", "")).items()]
    yield ""
    for title in ("Returns", "Yields"):
        if title in said:
            yield f"{title}: {_linked(said[title], entry)}\n"
    yield from _raises(found, entry)


def _raises(found: Definition, entry: Entry) -> Iterator[str]:
    said = entries(sections(found.doc).get("Raises", ""))
    if said:
        yield "Raises:\n"
        for name, meaning in said.items():
            yield f"- {_linked(f'`{name}`', entry)}: {_capital(_linked(meaning, entry))}"
        yield ""


def _item(name: str, meaning: str, entry: Entry) -> str:
    said = _capital(_linked(meaning, entry))
    return f"- `{name}`: {said}" if said else f"- `{name}`"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
