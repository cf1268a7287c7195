"""Find public names in the sources, and say what can be read there: signatures, fields, docstrings.

Nothing is imported. What is shown is what somebody wrote, in his words: `job: Job | str`, not the
objects that Python makes of it; and fields are described below themselves, where only a reader of
the source sees it.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

__all__ = ["Definition", "Member", "exported", "find"]

ROOT = Path(__file__).parents[2]

WIDEST = 96
"""Characters of the longest line of code that a page of GitHub shows without a bar below it."""

Function = ast.FunctionDef | ast.AsyncFunctionDef

_WORD = re.compile(r"(?<![\w.\"'])[A-Za-z_]\w*(?![\w\"'])")
_BOUNDED = re.compile(r"Annotated\[(\w+), Meta\([^)]*\)\]")
_SHOWN_DECORATORS = {"classmethod", "contextmanager", "staticmethod"}


@dataclass(frozen=True, slots=True)
class Module:
    """A module as it was written."""

    name: str
    lines: tuple[bytes, ...]
    tree: ast.Module

    def written(self, node: ast.expr | ast.stmt) -> str:
        """Return what stands in the source for a node, on one line."""
        # `ast.get_source_segment` would cut the whole source into lines each time.
        assert node.end_lineno is not None
        lines = list(self.lines[node.lineno - 1 : node.end_lineno])
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        return " ".join(b" ".join(lines).decode().split())


@dataclass(frozen=True, slots=True)
class Member:
    """A field, property or other attribute.

    Attributes:
        name: Its name.
        kind: Its type as it was written; empty where that was not.
        default: Its default as it was written; empty where there is none.
        doc: What its own docstring says.
    """

    name: str
    kind: str
    default: str
    doc: str

    def __str__(self) -> str:
        kind = f": {self.kind}" if self.kind else ""
        default = f" = {self.default}" if self.default else ""
        return self.name + kind + default


@dataclass(frozen=True, slots=True)
class Definition:
    """A name and what was written to define it."""

    name: str
    module: Module
    node: ast.stmt

    @property
    def doc(self) -> str:
        """Its docstring; that of a value stands below it."""
        if isinstance(self.node, (ast.ClassDef, Function)):
            return ast.get_docstring(self.node) or ""
        body = self.module.tree.body
        return _docstring(body, body.index(self.node))

    @property
    def is_handed_out(self) -> bool:
        """Whether users are handed objects of a class and make none, as its docstring says."""
        return "ade by `" in self.doc

    @property
    def source(self) -> str:
        """What was written, on one line; of use for values."""
        return self.module.written(self.node)

    @property
    def decorators(self) -> list[str]:
        """What stands behind the @s above it, without arguments."""
        assert isinstance(self.node, (ast.ClassDef, Function))
        return [ast.unparse(each).partition("(")[0] for each in self.node.decorator_list]

    @property
    def returns(self) -> str:
        """What a function returns, as it was written; empty where that was not."""
        assert isinstance(self.node, Function)
        return self._type(self.node.returns)

    @property
    def bases(self) -> list[str]:
        """What a class derives from, options of a Struct left out."""
        assert isinstance(self.node, ast.ClassDef)
        return [self.module.written(base) for base in self.node.bases]

    @property
    def options(self) -> set[str]:
        """The options of a Struct or a dataclass that are switched on."""
        assert isinstance(self.node, ast.ClassDef)
        calls = [each for each in self.node.decorator_list if isinstance(each, ast.Call)]
        given = [*self.node.keywords, *(option for call in calls for option in call.keywords)]
        return {str(each.arg) for each in given if ast.unparse(each.value) == "True"}

    @property
    def own_base(self) -> "Definition | None":
        """The class of ours that it derives from first; None where there is none."""
        found = (find(self.module.name, base) for base in self.bases)
        return next((each for each in found if each and isinstance(each.node, ast.ClassDef)), None)

    @property
    def functions(self) -> "Iterator[Definition]":
        """The functions of a class, constructor and all, each once: of overloads the last."""
        assert isinstance(self.node, ast.ClassDef)
        by_name = {node.name: node for node in self.node.body if isinstance(node, Function)}
        return (Definition(name, self.module, node) for name, node in by_name.items())

    @property
    def fields(self) -> list[Member]:
        """What a class declares, and what its constructor sets with a docstring below."""
        assert isinstance(self.node, ast.ClassDef)
        declared = list(self._members(self.node.body))
        init = next((each.node for each in self.functions if each.name == "__init__"), None)
        set_up = self._members(init.body) if isinstance(init, Function) else ()
        return [*declared, *(replace(each, default="") for each in set_up if each.doc)]

    def parameters(self) -> list[Member]:
        """What a function takes, `self` left out; a lone `*` is in its place."""
        assert isinstance(self.node, Function)
        arguments = self.node.args
        plain = [*arguments.posonlyargs, *arguments.args]
        defaults = [None] * (len(plain) - len(arguments.defaults)) + arguments.defaults
        found = [self._parameter(*pair) for pair in zip(plain, defaults, strict=True)]
        if found and found[0].name in ("self", "cls"):
            del found[0]
        if arguments.vararg is not None:
            found.append(self._parameter(arguments.vararg, None, stars="*"))
        elif arguments.kwonlyargs:
            found.append(Member("*", "", "", ""))
        pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        found += [self._parameter(*pair) for pair in pairs]
        if arguments.kwarg is not None:
            found.append(self._parameter(arguments.kwarg, None, stars="**"))
        return found

    def signature(self, name: str = "") -> str:
        """Return the signature of a function, under another name if one is given.

        It is broken up, a parameter to a line, where a page would not show all of it.
        """
        assert isinstance(self.node, Function)
        kind = "async def" if isinstance(self.node, ast.AsyncFunctionDef) else "def"
        head = f"{name}(" if name else f"{kind} {self.name}("
        tail = ")" if name or not self.returns else f") -> {self.returns}"
        parts = [str(each) for each in self.parameters()]
        line = head + ", ".join(parts) + tail
        if len(line) > WIDEST:
            line = "\n    ".join([head, *(f"{part}," for part in parts)]) + "\n" + tail
        shown = [f"@{each}\n" for each in self.decorators if each in _SHOWN_DECORATORS]
        return "".join(shown) + line

    def call(self) -> str:
        """Return how a function is called, on one line: its signature without types."""
        parts = [replace(each, kind="") for each in self.parameters()]
        shown = ", ".join(str(each).replace(" = ", "=") for each in parts)
        return f"{self.name}({shown}) -> {self.returns}"

    def _parameter(self, argument: ast.arg, default: ast.expr | None, stars: str = "") -> Member:
        return Member(
            stars + argument.arg, self._type(argument.annotation), self._value(default), ""
        )

    def _members(self, body: list[ast.stmt]) -> Iterator[Member]:
        for place, node in enumerate(body):
            match node:
                case ast.AnnAssign(target=target, annotation=annotation):
                    kind = self._type(annotation)
                case ast.Assign(targets=[target], value=value):
                    kind = self._class_of(value)
                case _:
                    continue
            name = self.module.written(target).removeprefix("self.")
            if name.isidentifier() and not name.startswith("_"):
                yield Member(name, kind, self._value(node.value), _docstring(body, place))

    def _class_of(self, value: ast.expr) -> str:
        """Return what is made where something is set; empty where that does not stand there."""
        if isinstance(value, ast.IfExp):
            value = value.body
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
            found = find(self.module.name, value.func.id)
            return found.name if found and isinstance(found.node, ast.ClassDef) else ""
        return ""

    def _type(self, node: ast.expr | None) -> str:
        if node is None:
            return ""
        is_quoted = isinstance(node, ast.Constant) and isinstance(node.value, str)
        written = self.module.written(node)[1:-1] if is_quoted else self.module.written(node)
        spelt_out = _WORD.sub(lambda word: self._spelt_out(word[0]), self._unquoted(written))
        return _BOUNDED.sub(r"\1", spelt_out)

    def _unquoted(self, written: str) -> str:
        """Return a type in which no class of ours is quoted, as it is until it is defined."""
        known = self.module.name
        return re.sub(r'"(\w+)"', lambda word: word[find(known, word[1]) is not None], written)

    def _spelt_out(self, word: str) -> str:
        """Return the words that an alias stands for, if it does; they are short, and all there is.

        A `Callable` has a name that says more than it does.
        """
        found = find(self.module.name, word)
        value = getattr(found.node, "value", None) if found else None
        if found is None or not isinstance(value, (ast.Subscript, ast.BinOp)):
            return word
        spelt = found.module.written(value)
        is_plain = spelt.startswith(("Literal[", "Annotated[")) or spelt == "str | bytes"
        return spelt if is_plain else word

    def _value(self, node: ast.expr | None) -> str:
        """Return a default; of a constant that is not public, what it stands for."""
        if isinstance(node, ast.Name) and (found := find(self.module.name, node.id)):
            value = getattr(found.node, "value", None)
            return found.module.written(value) if value is not None else node.id
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "field":
            given = {each.arg: each.value for each in node.keywords}
            return self._value(given.get("default"))
        return "" if node is None else self.module.written(node)


def _docstring(body: list[ast.stmt], place: int) -> str:
    """Return the string that stands right below a statement, and describes it."""
    match body[place + 1 : place + 2]:
        case [ast.Expr(value=ast.Constant(value=str(text)))]:
            return text
    return ""


@cache
def _module(name: str) -> Module | None:
    path = ROOT / name.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.is_file():
        return None
    text = file.read_text(encoding="utf-8")
    return Module(name, tuple(text.encode().split(b"\n")), ast.parse(text, str(file)))


@cache
def exported(module: str) -> tuple[str, ...]:
    """Return `__all__` of a module."""
    found = find(module, "__all__")
    assert found is not None, f"{module} has no __all__"
    assert isinstance(found.node, ast.Assign)
    return tuple(ast.literal_eval(found.node.value))


@cache
def find(module: str, name: str) -> Definition | None:
    """Return what defines a name, wherever it was imported from; None for what is not ours."""
    read = _module(module)
    for node in read.tree.body if read else ():
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                defined = node.name
            case ast.Assign(targets=[ast.Name(id=word)]) | ast.AnnAssign(target=ast.Name(id=word)):
                defined = word
            case ast.ImportFrom(module=str(origin), names=aliases):
                imported = {alias.asname or alias.name: alias.name for alias in aliases}
                if name in imported:
                    return find(origin, imported[name])
                continue
            case _:
                continue
        if read and defined == name:
            return Definition(name, read, node)
    return None
