"""The ingress pillar: packets from a driver, messages from a decoder, straight into claimed slots."""
