"""The service for minutes on end, while its alias moves and models come and go."""
