"""The same without `await`, for scripts and threads: `python examples/blocking.py [URL]`."""

import os
import sys

from vtrans_hybrid import Client, JobFailed, WatchTimeout

DEFAULT = os.environ.get("VTRANS_BASE_URL", "http://127.0.0.1:8080")
URL = sys.argv[1] if len(sys.argv) > 1 else DEFAULT

with Client(URL) as client:
    job = client.submit("https://example.com/talk.mp4", language="Spanish")
    for status in client.watch(job):
        print(f"{status.state:<9} {status.progress or 0:4.0%}  by {status.source}")

    jobs = client.submit_all("https://example.com/talk.mp4", languages=["German", "Thai"])
    for status in client.as_completed(jobs):
        print(f"{status.language} is {status.state}")

    try:
        late = client.submit("https://example.com/film.mp4", language="Welsh")
        client.result(late, timeout=0.5)
    except WatchTimeout as error:
        print("not yet:", error.last_status.state if error.last_status else "nothing heard")
    except JobFailed as error:
        print("failed:", error)
