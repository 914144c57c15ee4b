"""The signer proxy pillar: orders to the pod, signed orders into the ring."""
