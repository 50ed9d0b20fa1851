"""`python -m api.command_line`: the same as the console script `ledger`."""

from api.command_line import main

if __name__ == "__main__":
    main()
