"""The vocabulary: message types that pillars share. Layouts only, no behaviour."""
