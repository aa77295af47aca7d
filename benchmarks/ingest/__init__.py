"""What a camera costs, beside FFmpeg's own program."""
