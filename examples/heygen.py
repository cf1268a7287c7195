"""Translate with HeyGen, or what stands in for it: `python examples/heygen.py [URL]`."""

import sys

from vtrans_hybrid import Client

VIDEO = "https://example.com/talk.mp4"
URL = sys.argv[1] if len(sys.argv) > 1 else None  # HEYGEN_API_BASE, or else HeyGen itself

with Client.heygen(base_url=URL) as client:  # with the key that HEYGEN_API_KEY holds
    jobs = client.submit_all(VIDEO, languages=["Spanish", "French"], title="Talk")
    for status in client.as_completed(jobs):
        print(status.language, status.state, status.result_url)
