"""What a slow reader has not read yet."""

from vtrans_hybrid import JobStatus, State
from vtrans_hybrid.mailbox import Every, Latest


def status(version: int, job_id: str = "job-1", state: str = "running") -> JobStatus:
    """Return a status."""
    return JobStatus(job_id=job_id, state=State(state), version=version)


def read(mailbox: Latest | Every) -> list[tuple[int, int | None]]:
    """Empty a mailbox; return versions and what each of them has skipped."""
    taken = []
    while mailbox:
        each = mailbox.pop()
        taken.append((each.version, each.skipped))
    return taken


def put(mailbox: Latest | Every, *statuses: JobStatus) -> None:
    """Add statuses, one in each pass of a loop whose reader stands still."""
    for each in statuses:
        if mailbox.put(each):
            mailbox.trim()


def test_the_newest_of_each_job_is_kept() -> None:
    """What is not read coalesces, and is counted; jobs keep the order in which they came."""
    mailbox = Latest()
    for version, job_id in ((1, "a"), (5, "b"), (2, "a"), (3, "a")):
        put(mailbox, status(version, job_id))
    assert read(mailbox) == [(3, 2), (5, 0)]


def test_every_status_is_kept_up_to_the_bound() -> None:
    """Over it the oldest progress goes first, then the oldest; the newest never does."""
    mailbox = Every(bound=3)
    for version, state in enumerate(("pending", "running", "running", "running", "completed"), 1):
        put(mailbox, status(version, state=state))
    assert read(mailbox) == [(1, 0), (4, 2), (5, 0)]
    mailbox = Every(bound=2)
    for version, state in enumerate(("pending", "running", "completed"), 1):
        put(mailbox, status(version, state=state))
    assert read(mailbox) == [(2, 1), (3, 0)]


def test_no_job_loses_its_only_status() -> None:
    """Of many jobs two each are kept, and in time that grows with their number, not its square."""
    count = 20_000
    mailbox = Every()
    for version in range(1, 6):
        for number in range(count):
            put(mailbox, status(version, f"job-{number}"))
        assert len(mailbox) <= 2 * count
    skipped: dict[str, int] = {}
    newest: dict[str, int] = {}
    while mailbox:
        each = mailbox.pop()
        assert each.version > newest.get(each.job_id, 0)
        newest[each.job_id] = each.version
        skipped[each.job_id] = skipped.get(each.job_id, 0) + 1 + (each.skipped or 0)
    assert newest == skipped == {f"job-{number}": 5 for number in range(count)}


def test_what_was_read_makes_room() -> None:
    """After everything was read, the bound is what it was at first."""
    mailbox = Every(bound=2)
    for number in range(10):
        put(mailbox, status(1, f"job-{number}"))
    assert len(read(mailbox)) == 10
    for version in range(1, 5):
        put(mailbox, status(version))
    assert read(mailbox) == [(3, 2), (4, 0)]


def test_what_comes_at_once_is_dropped_by_trim_alone() -> None:
    """A reader that takes a thousand in its turn gets them; one that does not, the last."""
    statuses = [status(version) for version in range(1, 1001)]
    mailbox = Every(bound=4)
    told = [mailbox.put(each) for each in statuses]
    assert told == [False] * 4 + [True] * 996
    assert read(mailbox) == [(version, 0) for version in range(1, 1001)]
    for each in statuses:
        mailbox.put(each)
    mailbox.trim()
    assert read(mailbox) == [(997, 996), (998, 0), (999, 0), (1000, 0)]
