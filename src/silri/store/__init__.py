"""Episodes on disk: a crash-safe LeRobotDataset v3, and what reads and changes it."""
