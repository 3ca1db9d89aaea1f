"""Any Gymnasium environment behind the protocol of core."""
