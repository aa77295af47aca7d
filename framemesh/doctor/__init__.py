"""What `framemesh doctor` looks at: each check is one function that tries one thing and says how to mend it."""
