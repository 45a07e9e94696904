"""Lets ``python -m featdiv`` do what the command ``featdiv`` does."""

from featdiv.cli import main

if __name__ == "__main__":
    main()
