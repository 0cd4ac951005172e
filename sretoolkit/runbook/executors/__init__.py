"""Places where runs are carried out; each module is one."""
