"""What the documents say is held equal to what the code does."""
