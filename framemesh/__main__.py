"""`python -m framemesh`."""

from framemesh.cli import main

if __name__ == "__main__":
    main()
