"""`python -m dropscribe.worker`: serve jobs until stdin closes."""

from dropscribe.worker.main import main

if __name__ == "__main__":
    main()
