"""The auditor pillar: every slot of every ring it reads, as the bytes that stood there, into sealed segments."""
