"""What is wrong with a run, read from what it has written: rules, evidence, remedies."""
