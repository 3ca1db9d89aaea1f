"""The words of the system. Imports numpy and the standard library only."""
