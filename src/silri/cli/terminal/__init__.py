"""What verbs share: arguments, Ctrl-C, and lines that move."""
