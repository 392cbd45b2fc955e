"""What the command line and the API both do, in one place."""
