"""Decoders: each turns a feed's packets into messages, compiled, and never reads outside a packet."""
