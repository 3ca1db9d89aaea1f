"""The parts of ``lerobot`` that a teleoperator needs, with the signatures of 0.4.4 and 0.6.1."""
