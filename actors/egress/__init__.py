"""The egress pillar: signed orders leave the node."""
