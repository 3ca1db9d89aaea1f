"""Reading: what becomes of an instruction before an agent and a replay take it."""
