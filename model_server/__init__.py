"""One Hugging Face model behind gRPC."""
