"""The tool: images, objects and a model in, a classified layer out."""
