"""Standing on a vision-language(-action) model: frozen, asked once for each observation."""
