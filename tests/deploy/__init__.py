"""What `docs/deploy/` says is done: with the real nginx, systemd, PostgreSQL and podman, and with the very files of that folder."""
