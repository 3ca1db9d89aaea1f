"""Success classifiers: labelled frames, a small network on frozen features, and who judges."""
