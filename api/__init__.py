"""Every way in from outside: HTTP, the command line, the web console and their settings."""
