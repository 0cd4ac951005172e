"""The API for programs: each operation is declared once, and routes, checks and the OpenAPI document are made from that."""
