"""``python -m retrieval_bench``."""

from retrieval_bench.cli import main

if __name__ == "__main__":
    main()
