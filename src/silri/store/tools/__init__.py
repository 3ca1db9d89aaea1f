"""What is done with a dataset: other people's, merging, exporting, looking at it."""
