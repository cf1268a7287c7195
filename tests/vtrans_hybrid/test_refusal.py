"""What a refusal means, and how long it asks us to stay away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtrans_hybrid.dialect import Response
from vtrans_hybrid.errors import (
    AuthError,
    InvalidRequest,
    JobNotFound,
    QuotaExceeded,
    RateLimited,
    ServerError,
    Unavailable,
    Unsupported,
)
from vtrans_hybrid.refusal import refusal, retry_after_of

DATE = "Thu, 01 Jan 2026 00:00:00 GMT"


@pytest.mark.parametrize(
    ("status", "code", "job_id", "kind"),
    [
        (400, "", None, InvalidRequest),
        (401, "", None, AuthError),
        (402, "", None, QuotaExceeded),
        (403, "", None, AuthError),
        (400, "quota_exceeded", None, QuotaExceeded),
        (404, "", "job-1", JobNotFound),
        (410, "gone", "job-1", JobNotFound),
        (404, "unknown_path", "job-1", Unsupported),
        (404, "", None, Unsupported),
        (405, "", None, Unsupported),
        (501, "", None, Unsupported),
        (408, "", None, Unavailable),
        (425, "", None, Unavailable),
        (429, "", None, RateLimited),
        (500, "", None, Unavailable),
        (502, "", None, Unavailable),
        (503, "", None, Unavailable),
        (504, "", None, Unavailable),
        (413, "", None, InvalidRequest),
        (302, "", None, InvalidRequest),
    ],
)
def test_refusals(status: int, code: str, job_id: str | None, kind: type[ServerError]) -> None:
    """Each status leads to the error that says what it means and whether to try again."""
    error = refusal(Response(status=status, headers={}, body=b""), code=code, job_id=job_id)

    assert type(error) is kind
    assert (error.status, error.code, error.job_id) == (status, code, job_id)
    assert str(status) in str(error)


def test_a_wrong_key_is_of_no_job() -> None:
    """Whoever asked, the key is wrong for every job: the error must not name one of them."""
    error = refusal(Response(status=401, headers={}, body=b""), job_id="job-1")

    assert isinstance(error, AuthError)
    assert error.job_id is None


def test_redirects_are_named() -> None:
    """A redirect is refused with the address that base_url should have been."""
    headers = {"location": "https://elsewhere/" + "x" * 500}

    said = str(refusal(Response(status=301, headers=headers, body=b"")))

    assert "https://elsewhere/" in said
    assert len(said) < 500


def test_refusals_carry_what_was_said() -> None:
    """The server's own sentence, its request id and its delay are passed on."""
    response = Response(status=429, headers={"retry-after": "2", "x-request-id": "r1"}, body=b"")

    error = refusal(response, message="slow down")

    assert "again in 2 s" in str(error)
    assert "slow down" in str(error)
    assert error.request_id == "r1"
    assert error.retry_after == 2.0


@pytest.mark.parametrize(
    ("header", "body", "seconds"),
    [(None, None, None), ("2", None, 2.0), (None, 3.5, 3.5), ("4", 3.5, 4.0), ("1", 3.5, 3.5)],
)
def test_the_longer_delay_counts(
    header: str | None, body: float | None, seconds: float | None
) -> None:
    """Retry-After may come in the header, in the body or in both: none of them is undercut."""
    headers = {} if header is None else {"retry-after": header}

    error = refusal(Response(status=503, headers=headers, body=b""), retry_after=body)

    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "5"}, 5.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "999999"}, 3600.0),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "5", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "5", "retry-after-ms": "x"}, 5.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Wed, 31 Dec 2025 23:59:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, None),
        ({"retry-after": "Mon, 99 Foo 2026", "date": DATE}, None),
        ({"retry-after": f"Mon, 01 Jan {'9' * 30} 00:00:00 GMT", "date": DATE}, None),
        ({"retry-after": f"Mon, 01 Jan 2026 00:00:00 +{'9' * 30}", "date": DATE}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """A delay is read in seconds, milliseconds or as a date; what cannot be read is no delay."""
    assert retry_after_of(headers) == seconds


@given(st.text(max_size=60), st.text(max_size=60))
def test_retry_after_never_fails(text: str, date: str) -> None:
    """Whatever a server writes there, the answer is a bounded number or none."""
    seconds = retry_after_of({"retry-after": text, "date": date, "retry-after-ms": date})

    assert seconds is None or 0 <= seconds <= 3600


def test_too_many_jobs_are_not_too_many_requests() -> None:
    """A cap of open jobs is refused as a rate is, so the sentence fits both."""
    said = refusal(Response(status=429, headers={}, body=b""), message="10 jobs are open")

    assert "fewer requests or jobs at once" in str(said)
