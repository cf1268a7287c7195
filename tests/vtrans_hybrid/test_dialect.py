"""The neutral words between the client and a backend."""

import pytest

from vtrans_hybrid.dialect import Capabilities


@pytest.mark.parametrize(
    ("capabilities", "sizes"),
    [
        (Capabilities(), [1] * 10),
        (Capabilities(max_bulk=4), [4, 4, 2]),
        (Capabilities(max_bulk=100, max_body=3 * 22), [3, 3, 3, 1]),
        (Capabilities(max_bulk=100, max_body=1), [1] * 10),
    ],
)
def test_chunks(capabilities: Capabilities, sizes: list[int]) -> None:
    """Jobs are cut by number and by bytes, and a job too long for both still gets its request."""
    jobs = [f"job-{number:02}" for number in range(10)]

    chunks = list(capabilities.chunks(jobs))

    assert [len(chunk) for chunk in chunks] == sizes
    assert [job for chunk in chunks for job in chunk] == jobs
    assert list(capabilities.chunks([])) == []
