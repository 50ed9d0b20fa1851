"""The write side: from raw bytes to immutable events in a log that is never changed."""
