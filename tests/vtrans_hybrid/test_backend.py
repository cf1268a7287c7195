"""The server behind a client: what is sent again, and what is not sent at all."""

import pytest

from vtrans_hybrid.backend import Backend
from vtrans_hybrid.dialect import (
    AddEndpoint,
    Cancel,
    Capabilities,
    Delete,
    Dialect,
    Languages,
    Operation,
    Read,
    Request,
    Response,
    Submit,
)
from vtrans_hybrid.errors import (
    ConnectFailed,
    ConnectionLost,
    InvalidRequest,
    JobNotFound,
    ProtocolError,
    RateLimited,
    RequestTimeout,
    Unavailable,
    Unsupported,
    VtransError,
)
from vtrans_hybrid.heygen import HeyGen, HeyGenLegacy
from vtrans_hybrid.transport import NetworkOptions, Transport
from vtrans_hybrid.wire import Native, Plain

ORDER = Submit(video="https://example.com/v", languages=("Spanish",), key="k")


def behind(dialect: Dialect) -> Backend:
    """Make a backend that nothing is sent to."""
    transport = Transport("http://127.0.0.1:1", None, NetworkOptions(), 1.0)
    return Backend(transport, dialect, has_heard=lambda: True, adapt=_never)


def _never(capabilities: Capabilities) -> None:
    raise AssertionError("nothing was learned")


LOST = [
    ConnectionLost("cut"),
    RequestTimeout("slow"),
    Unavailable("down", status=503),
    ProtocolError("HTML"),
]
CERTAIN = [ConnectFailed("nobody"), RateLimited("too many", status=429)]


@pytest.mark.parametrize("error", [*LOST, *CERTAIN], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("dialect", "operation", "is_safe"),
    [
        (Native(), ORDER, True),
        (Plain(), ORDER, True),
        (HeyGen(), ORDER, True),
        (HeyGenLegacy(), ORDER, False),
        (HeyGenLegacy(), Read(jobs={"a": 0}), True),
        (HeyGen(), AddEndpoint(url="https://me.example"), False),
        (HeyGen(), Delete(job_id="a"), True),
    ],
    ids=str,
)
def test_what_is_sent_again(
    dialect: Dialect, operation: Operation, is_safe: bool, error: VtransError
) -> None:
    """What may have been carried out is sent again only where that does no harm."""
    assert behind(dialect).may_repeat(operation, error) is (is_safe or error in CERTAIN)


def test_what_would_fail_again_is_not_sent_again() -> None:
    """A refusal that is meant is final, whatever the operation."""
    error = InvalidRequest("no", status=400)

    assert not behind(HeyGen()).may_repeat(Languages(), error)


async def test_what_a_backend_lacks_is_not_asked_for() -> None:
    """It says nothing of what the server speaks, and nothing is sent."""
    backend = behind(Native())
    with pytest.raises(Unsupported, match="list its languages"):
        await backend.exchange(Languages())

    assert backend.requests == 0
    assert isinstance(backend.dialect, Native)


class Listener(Transport):
    """A transport that keeps what it is given."""

    def __init__(self, path: str = "") -> None:
        super().__init__(f"http://127.0.0.1:1{path}", None, NetworkOptions(), 1.0)
        self.sent: list[Request] = []
        self.status, self.body = 404, b""
        self.headers: dict[str, str] = {}

    async def request(self, request: Request) -> Response:
        """Refuse everything for good, or answer as it is set to."""
        self.sent.append(request)
        return Response(status=self.status, headers=self.headers, body=self.body)


@pytest.mark.parametrize(("status", "is_doubted"), [(404, True), (400, True), (503, False)])
async def test_an_address_is_doubted_until_it_proves_right(status: int, is_doubted: bool) -> None:
    """Whoever answered once as was expected, or says that he will, is the one that was meant."""
    listener = Listener("/v3")
    backend = Backend(listener, Plain(), has_heard=lambda: False, adapt=_never)
    read = Read(jobs={"a": 0})
    doubts = []
    for listener.status, listener.body in ((status, b""), (200, b'{"result": "pending"}')) * 2:
        try:
            await backend.exchange(read)
        except VtransError as error:
            notes = getattr(error, "__notes__", ())
            doubts.append(any("base_url holds /v3" in note for note in notes))
    assert doubts == [is_doubted, False]


async def test_what_turns_out_to_be_missing_leads_to_the_simpler_dialect() -> None:
    """A server without bulk reads speaks the plain contract."""
    learned: list[Capabilities] = []
    listener = Listener()
    backend = Backend(listener, Native(), has_heard=lambda: False, adapt=learned.append)
    with pytest.raises(VtransError):
        await backend.exchange(Read(jobs={"a": 0}))

    assert [request.path for request in listener.sent] == ["/status", "/status/a"]
    assert isinstance(backend.dialect, Plain)
    assert learned == [Plain.capabilities]


@pytest.mark.parametrize("status", [404, 410])
async def test_a_bare_page_is_no_proof_that_a_job_is_gone(status: int) -> None:
    """Only a server that has proved to be the one that was meant is believed without a word."""
    listener = Listener()
    backend = Backend(listener, Plain(), has_heard=lambda: False, adapt=_never)
    read = Read(jobs={"a": 0})
    listener.status, listener.body = status, b"<html>"
    with pytest.raises(VtransError, match=r"nothing at this address.* Of job a that says nothing"):
        await backend.exchange(read)
    listener.status, listener.body = 200, b'{"result": "pending"}'
    await backend.exchange(read)
    listener.status, listener.body = status, b"<html>"
    with pytest.raises(JobNotFound):
        await backend.exchange(read)


async def test_what_both_dialects_lack_tells_nothing_of_which_it_is() -> None:
    """A page for a wrong path, met by a cancel, does not make a plain server of a native one."""
    listener = Listener()
    backend = Backend(listener, Native(), has_heard=lambda: False, adapt=_never)

    with pytest.raises(Unsupported, match="nothing at this address"):
        await backend.exchange(Cancel(job_id="a"))

    assert isinstance(backend.dialect, Native)


async def test_a_refusal_in_words_is_believed_at_once() -> None:
    """Who says by a code, or in JSON, that he has no such job is no page for a wrong path."""
    said = (({}, b'{"code": "not_found"}'), ({"content-type": "application/json"}, b"{}"))
    for headers, body in said:
        listener = Listener()
        listener.status, listener.headers, listener.body = 404, headers, body
        with pytest.raises(JobNotFound):
            await Backend(listener, Plain(), has_heard=lambda: False, adapt=_never).exchange(
                Read(jobs={"a": 0})
            )


@pytest.mark.parametrize(
    ("dialect", "advice"), [(Plain(), "should it be left out"), (Native(), "make the client with")]
)
async def test_who_has_said_what_is_spoken_is_not_asked_for_it(
    dialect: Dialect, advice: str
) -> None:
    """Where it was no guess, a doubtful path is all that may be wrong."""
    listener = Listener("/v3/elsewhere")
    backend = Backend(listener, dialect, has_heard=lambda: False, adapt=lambda _: None)
    with pytest.raises(VtransError) as caught:
        await backend.exchange(Read(jobs={"a": 0}))
    [note] = caught.value.__notes__[-1:]
    assert note.startswith("base_url holds /v3")
    assert advice in note
