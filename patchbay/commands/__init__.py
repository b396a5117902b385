"""One file a command; what is heavy is imported when the command runs."""
