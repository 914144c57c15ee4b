"""The mechanism: messages, rings, compiled loops, leases, counters, the process around an actor.

Hot loops take addresses and words from `kernels`, `commit`, `loop` and `histogram`; tools, tests and slow actors use
`Writer`, `Reader` and `Observer`. Both share one layout (`layout.py`).
"""
