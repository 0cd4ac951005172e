"""The one ASGI application: what machines, people and other programs reach over HTTP."""
