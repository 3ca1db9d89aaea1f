"""What keeps a store whole: counted writes, locks, recovery and quarantine."""
