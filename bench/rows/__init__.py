"""One module per kind of work; each has `async def measure(context) -> list[Row]`."""
