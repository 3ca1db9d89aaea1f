"""Pictures for the page: of cameras, and of a simulation that is drawn."""
