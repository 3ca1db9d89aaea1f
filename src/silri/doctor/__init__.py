"""``silri doctor``: is a machine, an environment, a device fit for a run; what to do if not."""
