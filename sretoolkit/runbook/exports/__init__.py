"""What else can keep the times of a schedule; each module is one."""
