"""What the demo shows: real models, made of what wheels carry."""
