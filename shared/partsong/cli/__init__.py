"""The command line: `partsong NOUN VERB`."""
