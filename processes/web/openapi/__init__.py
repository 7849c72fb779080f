"""The service as an OpenAPI 3.0 document."""
