"""The HTTP interface: the table of routes (`routes.py`), a file a group of them, and what they all need."""
