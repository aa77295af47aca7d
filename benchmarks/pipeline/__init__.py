"""`make bench`: what the pipeline costs beside its bare parts."""
