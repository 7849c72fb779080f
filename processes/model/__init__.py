"""Model packages: definition, safe reading, arguments, inference."""
