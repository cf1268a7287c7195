"""Write the page about faults from what the catalogue says of itself: docs/faults.md.

python -m simulator.describe_faults > docs/faults.md
"""

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any, Final

from msgspec import NODEFAULT, Struct, structs

from simulator.control import Drop
from simulator.faults import FAMILIES, FAULTS, ONCE, STANDING, Fault
from simulator.rules import Match, Rule

__all__ = ["entries", "index", "page", "sections"]

_FAMILIES: Final = {
    "link": "The link",
    "rest": "REST",
    "channel": "The channel",
    "server": "The server",
    "job": "Jobs",
    "webhook": "Webhooks",
    "heygen": "HeyGen's face",
    "time": "Time",
}

_HEAD: Final = """\
# Faults

The simulator can misbehave in {count} ways. `python -m simulator.describe_faults` writes this page
from the catalogue itself, `simulator/faults/`. A fault is named for what a client gets to see.

## Four ways to ask for one

In process:

```python
number = sim.faults.add(HttpStatus(status=503), match={{"path": "/status*"}}, probability=0.1)
sim.faults.add("drop_event:probability=0.2", count=5)
sim.faults.remove(number)
sim.faults.heal()  # all of them
```

`add` takes a fault of `simulator.faults`, or a whole rule: a `Rule`, the text of the command line,
or the dict of the control API. An option beside a whole rule takes the place of what that says.

Over the control API, from any language:

```console
$ curl localhost:8080/_control/faults \\
    -d '{{"fault": "status", "parameters": {{"status": 503}}, "match": {{"path": "/status*"}}}}'
$ curl localhost:8080/_control/faults/log
$ curl -X POST localhost:8080/_control/heal
```

On the command line, as often as you like:

```console
$ python -m simulator --fault 'status:status=503,probability=0.1,count=5,path=/status*' \\
    --fault drop_event:probability=0.2
```

In a file, YAML (with the extra `yaml`) or JSON, by `python -m simulator --faults plan.yaml`:

```yaml
seed: 7
rules:
  - fault: status
    parameters: {{status: 503, retry_after: 2}}
    match: {{path: /status*}}
    probability: 0.1
    for: 60
  - drop_event:probability=0.2,for=60
```

The names are the same everywhere; only in Python's own calls is `for` written `for_`. `GET
/_control/faults` shows the rules, the seed, and how often each rule has struck; `GET
/_control/faults/log` and `sim.faults.log` show each injection with its rule and occasion, and with
its time: `at` is that of `loop.time()`, and over the control API `wall_time` is that of the machine
in UTC, which no fault moves. The seed that the simulator prints replays the whole plan: the same
rules meet the same occasions with the same luck.

## The control API

Who may call it is in [security.md](security.md). In process the same is done by `sim.faults`,
`sim.restart()`, `sim.drain()`, `sim.drop()`, `sim.stats()` and `sim.calls`. A body is a JSON object
of the parameters below; `{{}}` may be left out.

| call | what it does |
|---|---|
| `GET /_control/faults` | shows the seed and all rules, and how often each has struck |
| `POST /_control/faults` | adds a [rule](#rules); the answer has its `id` |
| `DELETE /_control/faults/{{id}}` | removes one rule |
| `DELETE /_control/faults`, `POST /_control/heal` | removes all rules; whatever was standing ends |
| `GET /_control/faults/log` | shows the last 1,000 injections, the oldest first |
| `POST /_control/restart` | answers 202, then does what the fault [`restart`](#restart) does |
| `POST /_control/drain` | the same with [`drain`](#drain) |
| `POST /_control/drop` | ends all channels at once; the answer has how many were `dropped` |
| `GET /_control/stats` | shows the epoch, and the numbers of jobs, channel and webhooks |
| `GET /_control/calls` | shows the last 1,000 requests, the oldest first |

What `drop` takes:

{drop}

## Rules
"""

_KINDS: Final = """
A fault strikes at an occasion, named behind it below: a `request` of REST, a status that REST is
about to `read`, an `upgrade`, an `event`, an `order`, a new version of a `job`, an attempt at the
`delivery` of a webhook (whose `path` is that of its URL). An occasion at which a fault could change
nothing is not counted. Of several rules for one occasion the first that strikes counts.

Where the occasion is a thing that lasts ({standing}), the fault is a condition: a rule decides once
for each connection, that stands until the rule goes, and conditions add up.

Where it is the `server`, the fault is a deed: a rule does it once, a tenth of a second after it
begins to hold. One that has begun is done to its end, healed or not.
"""


def page() -> str:
    """Return the page."""
    standing = ", ".join(f"`{where}`" for where in sorted(STANDING))
    return "\n".join(
        [
            _HEAD.format(count=len(FAULTS), drop=_table(Drop)),
            _table(Rule, leave_out="match"),
            "\nIts `match` says whom it strikes; what is left out matches everything:\n",
            _table(Match),
            _KINDS.format(standing=standing),
            *_families(),
        ]
    )


def index() -> str:
    """Return the classes of all faults by family, each with a link to its place on the page."""
    return "\n".join(
        f"- **{_FAMILIES[family]}**: "
        + ", ".join(f"[`{kind.__name__}`](faults.md#{kind.name})" for kind in kinds)
        for family, kinds in FAMILIES.items()
    )


def sections(docstring: str) -> dict[str, str]:
    """Return the sections of a docstring in Google's style by title; what comes first has none."""
    first, *others = _TITLE.split(inspect.cleandoc(docstring))
    return {"": first.strip(), **dict(zip(others[::2], others[1::2], strict=True))}


def entries(section: str) -> dict[str, str]:
    """Return what a section such as Args says of each name."""
    found = _NAME.split(section)[1:]
    return {
        name: " ".join(text.split()) for name, text in zip(found[::2], found[1::2], strict=True)
    }


_TITLE: Final = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):\n", re.MULTILINE)
_NAME: Final = re.compile(r"^    ([\w.]+): ", re.MULTILINE)


def _families() -> Iterator[str]:
    for family, kinds in FAMILIES.items():
        yield f"## {_FAMILIES[family]}\n"
        for kind in kinds:
            yield from _fault(kind)


def _fault(kind: type[Fault]) -> Iterator[str]:
    yield f"### `{kind.name}`\n"
    deed = " (deed)" if kind.where in ONCE else ""
    text = sections(kind.__doc__ or "")[""]
    yield f"{' '.join(text.split())} *{kind.where}*{deed}\n"
    if structs.fields(kind):
        yield _table(kind) + "\n"


def _table(kind: type[Struct], leave_out: str = "") -> str:
    """Return the fields of a Struct as its docstring has them."""
    lines = ["| parameter | default | meaning |", "|---|---|---|"]
    meanings = entries(sections(kind.__doc__ or "").get("Args", ""))
    for field in structs.fields(kind):
        if field.name != leave_out:
            name, default = field.name.rstrip("_"), _default(field)
            meaning = meanings[field.name].replace("|", "\\|")
            lines.append(f"| `{name}` | {default} | {meaning} |")
    return "\n".join(lines)


def _default(field: Any) -> str:
    if field.default is NODEFAULT:
        return "-" if field.default_factory is NODEFAULT else "`{}`"
    return "" if field.default is None else f"`{field.default}`"


if __name__ == "__main__":
    sys.stdout.write(page())
