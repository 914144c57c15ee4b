"""When a dead actor comes back: exponential back-off, and an end after too many failures in a window.

Pure: time comes in as an argument (CLOCK_MONOTONIC ns), so every decision can be tested.
"""

from __future__ import annotations

from collections import deque

from sovereign.runtime.spec import RestartPolicy

NEVER_NS = -1


class RestartClock:
    """The failures of one actor. `failed(now)` says when to start again, or NEVER_NS."""

    def __init__(self, policy: RestartPolicy) -> None:
        self.policy = policy
        self._failed_ns: deque[int] = deque()

    def failures(self, now_ns: int) -> int:
        """Failures that the window still holds."""
        oldest = now_ns - int(self.policy.window_s * 1e9)
        while self._failed_ns and self._failed_ns[0] < oldest:
            self._failed_ns.popleft()
        return len(self._failed_ns)

    def failed(self, now_ns: int) -> int:
        """Count a failure. The moment of the next start, or NEVER_NS when the policy gives the actor up."""
        self._failed_ns.append(now_ns)
        failures = self.failures(now_ns)
        if self.policy.policy == "never" or failures > self.policy.max_failures:
            return NEVER_NS
        return now_ns + 1_000_000 * self.backoff_ms(failures)

    def backoff_ms(self, failures: int) -> int:
        """How long to wait after the `failures`-th failure in the window: doubled each time, bounded."""
        doubled = self.policy.backoff_ms << min(failures - 1, 32)
        return min(doubled, self.policy.max_backoff_ms)

    def forget(self) -> None:
        """An operator started the actor by hand: begin anew."""
        self._failed_ns.clear()
