"""The peers, one a file: each is measured by the same rounds and counted by the same code as our own rings."""
