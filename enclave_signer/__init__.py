"""The program inside the pod. It keeps the keys, and signs only what its policy allows.

It imports nothing of the host's runtime, no NumPy and no Numba: whoever audits it reads this folder, the standard
library's part that it uses, and two signature libraries.
"""
