"""Know the moment a video translation is done."""
