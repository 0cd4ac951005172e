"""The databases that the store speaks to; one module each, named as in the URL's scheme."""
