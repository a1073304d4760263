"""A guest's script: its model, its YAML file, its schema, its cost."""
