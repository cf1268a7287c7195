"""The shape of the house: who may import whom, what stays pure, and how big a room may be.

Only the standard library's `ast` looks at the code; nothing here imports it.
"""

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("simulator", "vtrans_hybrid")
PLUGIN = Path("pytest_vtrans.py")

PACKAGES_INSIDE = {"faults", "heygen", "testing"}

# A module may import only from lower floors of its own package.
FLOORS = {
    "vtrans_hybrid": [
        {"models"},
        {"errors"},
        {"signatures"},
        {"deliveries", "dialect", "mailbox", "policy", "terminal"},
        {"messages", "refusal"},
        {
            "arguments",
            "asgi",
            "attempts",
            "heygen_answers",
            "link",
            "loop_thread",
            "merge",
            "routes",
            "supervisor",
            "transport",
            "wire",
        },
        {
            "absence",
            "audience",
            "backend",
            "connection",
            "heygen",
            "line",
            "simulation",
            "subscriptions",
        },
        {"ledger", "push", "schedule"},
        {"cover", "hearsay"},
        {"news"},
        {"tracker"},
        {"driver"},
        {"bulk", "callbacks", "endpoints"},
        {"stats", "watch"},
        {"calls"},
        {"client"},
        {"blocking", "demo", "server_options"},
        {"commands", "webhooks"},
        {"__init__", "cli"},
    ],
    "simulator": [
        {"misfits"},
        {"clock", "destinations", "epochs", "heartbeat", "jobs", "keys", "messages", "metrics"}
        | {"signatures", "table", "terms"},
        {"access", "entrance", "envelope", "faults", "histories", "limits", "orders"},
        {"lane", "log", "notices", "problems", "rules"},
        {"plan"},
        {"endpoints", "link", "mishaps", "plight", "postman", "reads", "rulebook", "tamper"},
        {"line", "outbox", "port", "replica", "spoil"},
        {"deliverer", "gate"},
        {"channel", "control", "describe", "heygen", "rest"},
        {"options"},
        {"server"},
        {"__init__"},
        {"__main__", "describe_faults", "testing"},
    ],
    "simulator.faults": [
        {"fault"},
        {"channels", "heygen", "jobs", "links", "requests", "servers", "webhooks"},
        {"__init__"},
    ],
    "simulator.heygen": [
        {"answers", "bodies", "languages", "links", "notebook", "options", "video"},
        {"orders"},
        {"face"},
        {"files", "v2", "v3", "webhooks"},
        {"__init__"},
    ],
    "simulator.testing": [
        {"connection", "errors", "tls"},
        {"clock", "conditions", "determinism", "refusals"},
        {"pipe"},
        {"transport"},
        {"link"},
        {"listener"},
        {"network"},
        {"loop"},
        {"runner"},
        {"__init__"},
    ],
}

# Decisions are made without a clock, without chance and without I/O: all three are arguments.
PURE = {
    "vtrans_hybrid": [
        "absence",
        "arguments",
        "audience",
        "cover",
        "deliveries",
        "dialect",
        "errors",
        "hearsay",
        "heygen",
        "heygen_answers",
        "ledger",
        "line",
        "link",
        "mailbox",
        "merge",
        "messages",
        "models",
        "news",
        "policy",
        "push",
        "refusal",
        "schedule",
        "signatures",
        "subscriptions",
        "tracker",
        "wire",
    ],
    "simulator": [
        "clock",
        "endpoints",
        "epochs",
        "histories",
        "jobs",
        "keys",
        "messages",
        "misfits",
        "mishaps",
        "notices",
        "orders",
        "plan",
        "plight",
        "rulebook",
        "rules",
        "signatures",
        "tamper",
    ],
    "simulator/faults": [
        "__init__",
        "channels",
        "fault",
        "heygen",
        "jobs",
        "links",
        "requests",
        "servers",
        "webhooks",
    ],
    "simulator/heygen": [
        "answers",
        "bodies",
        "languages",
        "links",
        "notebook",
        "options",
        "orders",
        "video",
    ],
}
IMPURE_IMPORTS = {
    "aiohttp",
    "anyio",
    "asyncio",
    "concurrent",
    "random",
    "secrets",
    "select",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "websockets",
}
# A generator of random numbers may come in as an argument, or be made from a seed.
PURE_NAMES = {"random.Random"}

# It replaces the sources of randomness and time by seeded ones, so it has to name them.
REPLACES_CLOCKS = Path("simulator/testing/determinism.py")

IO_LIBRARIES = {
    # A route of an aiohttp application is made in a file that is loaded by those who have one.
    "aiohttp": {"vtrans_hybrid/transport.py", "vtrans_hybrid/routes.py"},
    "websockets": {"vtrans_hybrid/transport.py"},
}

# They print dates for people; so do the documents of the simulator.
SHOWS_DATES = {Path("vtrans_hybrid/demo.py")}

# A signature is judged by the time of day, where the caller gives no other.
JUDGES_SIGNATURES = {Path("vtrans_hybrid/webhooks.py")}

NO_NAMES = {"base", "common", "constants", "core", "helper", "helpers", "misc", "types", "util"}
NO_NAMES |= {"utils"}

MOST_LINES = 500
MOST_LINES_OF_A_FUNCTION = 60
DEEPEST = 4


def modules(*packages: str) -> list[Path]:
    """Return the product modules of packages, by path relative to the root."""
    found = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    return sorted(path.relative_to(ROOT) for path in found)


def product() -> list[Path]:
    """Return every module that is delivered."""
    return [PLUGIN, *modules(*PACKAGES)]


@cache
def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a module, which nobody changes."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path))


def imports(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield the full name of whatever a module imports, under `if TYPE_CHECKING` too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or "", node
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node


def checked_at_run_time(tree: ast.Module) -> ast.Module:
    """Return a module without what only a type checker sees."""

    class Stripper(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | None:
            names = {n.id for n in ast.walk(node.test) if isinstance(n, ast.Name)}
            return None if "TYPE_CHECKING" in names else self.generic_visit(node)

    stripped = Stripper().visit(deepcopy(tree))
    assert isinstance(stripped, ast.Module)
    return stripped


def place(path: Path) -> tuple[str, str]:
    """Return the package and the room of a module: `simulator/testing/loop.py` -> ..., `loop`."""
    return ".".join(path.parts[:-1]), path.stem


def floor(package: str, room: str) -> int | None:
    """Return the floor of a room; None where it has none."""
    return next((n for n, rooms in enumerate(FLOORS[package]) if room in rooms), None)


@cache
def neighbours(path: Path) -> frozenset[str]:
    """Return the rooms of the same package that a module imports."""
    package, room = place(path)
    found = set()
    for name, _ in imports(checked_at_run_time(parse(path))):
        if name == package and room != "__init__":
            # `from package import module` names the module itself next.
            continue
        if name.startswith(package + "."):
            found.add(name.removeprefix(package + ".").split(".")[0])
    known = {other.stem for other in modules(package.replace(".", "/"))} | PACKAGES_INSIDE
    return frozenset(found & known)


def for_each(paths: Iterable[Path]) -> Callable[[Callable[[Path], None]], Callable[[], None]]:
    """Hold a rule against every path in one test: to report a thousand tests costs more than that.

    Every path that breaks the rule is named, not only the first.
    """

    def decorate(rule: Callable[[Path], None]) -> Callable[[], None]:
        def test() -> None:
            broken = []
            for path in paths:
                try:
                    rule(path)
                except AssertionError as error:
                    broken.append(str(error).partition("\n")[0])
            assert not broken, "\n".join(broken)

        test.__name__, test.__doc__ = rule.__name__, rule.__doc__
        return test

    return decorate


@for_each(modules(*PACKAGES))
def test_every_module_has_a_floor(path: Path) -> None:
    """A new module is given its place in the house."""
    package, room = place(path)

    assert floor(package, room) is not None, f"{path} stands on no floor of FLOORS"


def test_every_floor_has_its_modules() -> None:
    """A floor names no module that is gone."""
    for package, floors in FLOORS.items():
        rooms = {path.stem for path in (ROOT / package.replace(".", "/")).glob("*.py")}
        for named in floors:
            assert named - PACKAGES_INSIDE <= rooms, (
                f"{sorted(named - rooms)} are gone from {package}"
            )


@for_each(modules(*PACKAGES))
def test_imports_come_from_lower_floors(path: Path) -> None:
    """A module imports only from floors below its own."""
    package, room = place(path)
    own = floor(package, room)
    assert own is not None

    for other in neighbours(path) - {room}:
        below = floor(package, other)
        assert below is not None, f"{path} imports {other}, which stands on no floor"
        assert below < own, f"{path} (floor {own}) imports {other} (floor {below})"


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_independent(package: str) -> None:
    """Neither program imports the other: their contract is the protocol and the golden messages."""
    [other] = set(PACKAGES) - {package}

    for path in modules(package):
        for name, _ in imports(parse(path)):
            assert name.split(".")[0] != other, f"{path} imports {name}"


def test_the_pytest_plugin_imports_nothing_of_ours() -> None:
    """What every run of pytest loads is pytest and the standard library, until a test asks."""
    for node in ast.iter_child_nodes(checked_at_run_time(parse(PLUGIN))):
        for name, _ in imports(node) if isinstance(node, (ast.Import, ast.ImportFrom)) else ():
            first = name.split(".")[0]
            assert first == "pytest" or first in sys.stdlib_module_names, f"it imports {name}"


@for_each([Path(package, f"{room}.py") for package, rooms in PURE.items() for room in rooms])
def test_pure_modules_stay_pure(path: Path) -> None:
    """A module that decides imports no clock, no chance, no loop and no socket."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
        else:
            continue
        for name in names - PURE_NAMES:
            assert name.split(".")[0] not in IMPURE_IMPORTS, f"{path} imports {name}"


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call in a module by the full name of what is called, where that is imported."""
    tree = parse(path)
    full = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            full |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            full |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, dot, rest = ast.unparse(node.func).partition(".")
            if first in full:
                yield full[first] + dot + rest, node


@for_each(product())
def test_chance_is_injected(path: Path) -> None:
    """Nothing draws from the generator that the whole process shares."""
    for called, node in calls(path):
        if path != REPLACES_CLOCKS and called.startswith("random."):
            # SystemRandom gives a run that nobody seeded its seed.
            assert called in {"random.Random", "random.SystemRandom"}, (
                f"{path}:{node.lineno} calls {called}"
            )


@for_each(product())
def test_time_is_that_of_the_loop(path: Path) -> None:
    """Nothing of the client reads a wall clock, and nobody another clock than the loop's."""
    wall = {"time.time", "datetime.datetime.now", "datetime.datetime.utcnow"}
    for called, node in calls(path):
        if path != REPLACES_CLOCKS:
            assert called != "time.monotonic", f"{path}:{node.lineno} calls {called}"
            may_ask = path.parts[0] == "simulator" or path in SHOWS_DATES | JUDGES_SIGNATURES
            assert called not in wall or may_ask, f"{path}:{node.lineno} calls {called}"


@pytest.mark.parametrize("library", sorted(IO_LIBRARIES))
def test_network_libraries_are_known_in_one_place(library: str) -> None:
    """Only the transport of the client knows what carries its bytes."""
    for path in modules("vtrans_hybrid"):
        if path.as_posix() not in IO_LIBRARIES[library]:
            for name, _ in imports(parse(path)):
                assert name.split(".")[0] != library, f"{path} imports {name}"


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_no_cycles(package: str) -> None:
    """No module imports itself by way of others."""
    graph = {
        path.stem: neighbours(path)
        for path in modules(package.replace(".", "/"))
        if place(path)[0] == package
    }
    done: set[str] = set()

    def visit(room: str, trail: tuple[str, ...]) -> None:
        assert room not in trail, f"a cycle in {package}: {' -> '.join((*trail, room))}"
        if room not in done:
            for other in sorted(graph.get(room, set()) - {room}):
                visit(other, (*trail, room))
            done.add(room)

    for room in sorted(graph):
        visit(room, ())


def exported(tree: ast.Module) -> list[str] | None:
    """Return `__all__` of a module; None where it has none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return None


@for_each(product())
def test_exports_are_listed_and_sorted(path: Path) -> None:
    """Every module says what it offers, in plain sort order, each name once and defined."""
    tree = parse(path)
    names = exported(tree)

    assert names is not None, f"{path} has no __all__"
    assert names == sorted(set(names)), f"__all__ of {path} is not sorted"
    bound = {
        name.id
        for node in tree.body
        for name in ast.walk(node)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
    }
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            bound.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            bound |= {alias.asname or alias.name for alias in node.names}
    assert set(names) <= bound, f"{path} exports {sorted(set(names) - bound)} and lacks it"


@for_each(product())
def test_imports_are_exported(path: Path) -> None:
    """What a module takes from another of ours is among what that one offers."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            source = Path(node.module.replace(".", "/") + ".py")
            if (ROOT / source).exists():
                taken = {alias.name for alias in node.names}
                missing = taken - set(exported(parse(source)) or ())
                assert not missing, (
                    f"{path} imports {sorted(missing)}, which {source} does not offer"
                )


@for_each(product())
def test_public_names_are_documented(path: Path) -> None:
    """Every module, and every public class, function and method in it, has a docstring."""
    tree = parse(path)
    assert ast.get_docstring(tree), f"{path} has no docstring"

    def check(body: list[ast.stmt], where: str) -> None:
        for node in body:
            if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if node.name.startswith("_"):
                continue
            decorators = {ast.unparse(each) for each in node.decorator_list}
            is_repeated = any(each.split(".")[-1] in {"overload", "setter"} for each in decorators)
            is_inherited = "override" in decorators
            assert is_repeated or is_inherited or ast.get_docstring(node), (
                f"{where}.{node.name} has no docstring"
            )
            if isinstance(node, ast.ClassDef):
                check(node.body, f"{where}.{node.name}")

    check(tree.body, str(path))


SCOPES = {
    "CancelScope",
    "create_task_group",
    "fail_after",
    "fail_at",
    "move_on_after",
    "move_on_at",
    "TaskGroup",
    "timeout",
    "timeout_at",
}


def yields_in_scopes(tree: ast.AST) -> Iterator[int]:
    """Yield the lines where a generator gives control away inside a task group or cancel scope."""

    def search(node: ast.AST, is_inside: bool) -> Iterator[int]:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            is_inside = False
        if isinstance(node, (ast.Yield, ast.YieldFrom)) and is_inside:
            yield node.lineno
        if isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                yield from search(item.context_expr, is_inside)
                called = item.context_expr
                name = ast.unparse(called.func if isinstance(called, ast.Call) else called)
                last = name.split(".")[-1]
                is_inside = is_inside or last in SCOPES or last.lstrip("_").endswith("scope")
            for child in node.body:
                yield from search(child, is_inside)
            return
        for child in ast.iter_child_nodes(node):
            yield from search(child, is_inside)

    return search(tree, False)


@for_each(product())
def test_no_yield_inside_a_scope(path: Path) -> None:
    """A generator never yields inside a task group: a plain `break` would cancel its caller."""
    lines = list(yields_in_scopes(parse(path)))

    assert not lines, f"{path} yields inside a task group or cancel scope, lines {lines}"


def test_the_search_for_yields_finds_one() -> None:
    """The rule above can fail."""
    code = """
async def good(n):
    yield 1
    async with anyio.create_task_group():
        async def inner():
            yield 2
async def bad():
    with anyio.move_on_after(1):
        for i in range(3):
            yield i
"""
    assert list(yields_in_scopes(ast.parse(code))) == [10]


@for_each(product())
def test_files_are_small(path: Path) -> None:
    """A file is at most 500 lines long."""
    lines = len((ROOT / path).read_text(encoding="utf-8").splitlines())

    assert lines <= MOST_LINES, f"{path} has {lines} lines, {MOST_LINES} are allowed"


NESTS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)


def depth(node: ast.AST, *, is_elif: bool = False) -> int:
    """Return how deep statements are nested in a node; an `elif` is as deep as its `if`."""
    deepest = 0
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                follows = name == "orelse" and isinstance(child, ast.If) and len(value) == 1
                deepest = max(deepest, depth(child, is_elif=follows))
    return deepest + (isinstance(node, (*NESTS, ast.TryStar)) and not is_elif)


@for_each(product())
def test_functions_are_small_and_flat(path: Path) -> None:
    """A function is at most 60 lines long and nests at most 4 deep."""
    for node in ast.walk(parse(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node):
                # The contract is not counted: it shall be as long as it takes.
                first = node.body[0]
                assert first.end_lineno is not None
                lines -= first.end_lineno - first.lineno + 1
            assert lines <= MOST_LINES_OF_A_FUNCTION, f"{path}: {node.name} has {lines} lines"
            assert depth(node) <= DEEPEST, f"{path}: {node.name} nests {depth(node)} deep"


@for_each(product())
def test_names_say_something(path: Path) -> None:
    """No module is called utils, helpers or the like: a thing lives with what uses it."""
    assert path.stem not in NO_NAMES, f"{path}: what is in it?"
