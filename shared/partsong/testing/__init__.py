"""What a test of an application on Partsong needs: real servers, fake vendors, shared suites."""
