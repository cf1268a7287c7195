"""A video-translation backend to develop and test against."""
