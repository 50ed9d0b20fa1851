"""Who did or saw what: the acts that are known, and the entry of the audit trail that each way in leaves of one."""
