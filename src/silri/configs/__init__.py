"""One typed configuration per run, composed of the parts' own, and its JSON form."""
