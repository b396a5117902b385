"""What a strong network is made of: channels, how they couple, and what they mean to a class."""
