"""The log on disk: SQLAlchemy Core, the same statements for every engine. Everything here does I/O."""
