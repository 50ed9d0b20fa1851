"""The read side: read models made from the log alone, and the questions that they answer."""
