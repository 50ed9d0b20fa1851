"""How fast it is, measured beside what people would use instead: `python -m tests.benchmarks --help`.

One subject a file; each measures its contenders by turns, in rounds, so that a noisy machine is unfair to all alike.
Read a ratio before a figure: figures depend on the machine and the hour.
"""
