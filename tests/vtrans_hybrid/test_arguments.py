"""What an application may give, and what it is told where that makes no sense."""

from typing import Any

import pytest

from vtrans_hybrid import AsyncClient
from vtrans_hybrid.arguments import near_names, order_of
from vtrans_hybrid.wire import Plain

VIDEO = "https://videos.example/talk.mp4"


@pytest.mark.parametrize(
    ("video", "languages", "options", "error", "words"),
    [
        (b"talk", ["Spanish"], {}, TypeError, "are text, not bytes"),
        (" ", ["Spanish"], {}, ValueError, "video is the URL"),
        (VIDEO, [], {}, ValueError, "at least one language"),
        (VIDEO, ["Spanish", ""], {}, ValueError, "at least one language"),
        (VIDEO, ["Spanish"], {"video_url": VIDEO}, ValueError, "'video_url' is no further field"),
        (VIDEO, ["Spanish"], {"title": object()}, TypeError, "option title cannot be sent as JSON"),
    ],
)
def test_an_order_that_makes_no_sense(
    video: Any, languages: Any, options: Any, error: type[Exception], words: str
) -> None:
    """It is refused before anything is sent, by a sentence that names what is wrong."""
    with pytest.raises(error, match=words):
        order_of(video, languages, options, "key")


def test_one_language_is_as_good_as_a_list() -> None:
    """Text is not taken for a list of letters."""
    assert order_of(VIDEO, "Thai", {"title": "Talk"}, "key").languages == ("Thai",)


@pytest.mark.parametrize(
    ("wanted", "near"),
    [
        ("Spansh", ["Spanish (Spain)", "Spanish (Mexico)"]),
        ("spanish", ["Spanish (Spain)", "Spanish (Mexico)"]),
        ("Spanish (Mexiko)", ["Spanish (Mexico)", "Spanish (Spain)"]),
        ("Thay", ["Thai"]),
        ("Klingon", []),
    ],
)
def test_what_a_name_may_mean(wanted: str, near: list[str]) -> None:
    """The nearest names come first, and what they are specified by may be left out."""
    known = ["Thai", "Spanish (Spain)", "Spanish (Mexico)", "German"]
    assert near_names([wanted, "german ", "Thai"], known) == {wanted: near}


@pytest.mark.parametrize(
    "dialect", ["heygen", Plain, object()], ids=["a name", "a class", "an object"]
)
def test_what_is_no_dialect(dialect: Any) -> None:
    """A name is none, and it is refused as soon as a client is made."""
    with pytest.raises(TypeError, match=r"^dialect is a value .* heygen\(\)$"):
        AsyncClient("http://127.0.0.1:1", dialect=dialect)
