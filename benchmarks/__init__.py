"""What the client and the simulator cost, side by side with the least that the work can cost.

`python -m benchmarks` prints a table; docs/performance.md says what its rows mean.
"""

__all__: list[str] = []
