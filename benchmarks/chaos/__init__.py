"""The crash simulator: actors of a real node die by a seed's choice, and what they said is compared with a calm run.

ways        who dies, how and when: a schedule that the seed alone decides
wired       the node: every pillar, a cycle, both transports; its strategies and its source beside it
chain       harness 1: the actors forked from here, killed between any two stores
node        harness 2: `sovereign up` with its supervisor, killed from outside
receiver    the venue: what arrived, by the order's name
rerun       the same input again, with nobody killed
compare     what came out against what must have
run         a whole run: schedule, harnesses, verdict
"""
