"""The newest frames and what models say of them, for every browser that watches. It only listens."""
