"""What people look at in a browser; it works without JavaScript, but for keeping itself up to date."""
