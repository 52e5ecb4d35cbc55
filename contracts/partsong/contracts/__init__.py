"""The language every part of Partsong speaks: pure values, no I/O, no clock."""
