"""What the streams tell, kept for good: references and results become Parquet files in the lake."""
