"""Litmus tests of the ring's ordering: each claim is its forbidden outcome, counted over many rounds by real processes."""
