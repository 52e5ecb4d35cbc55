"""The way out: requests to addresses that a model, a page or a user chose."""
