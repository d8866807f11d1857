"""What a person types: one command a file; they parse words and call the rooms below."""
