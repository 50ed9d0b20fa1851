"""Months of operation in seconds: the real code on a virtual clock, with a provider, bad weather and restarts, from a seed.

    agenda.py      virtual time: what happens next
    weather.py     when what fails
    fragile.py     a database that fails as the weather says
    server.py      the real reception, commits and read models, and an operator who restarts, rebuilds and rotates secrets
    provider.py    Red Cloud: signs, delivers, tries again after 1, 5, 15 and 60 minutes
    months.py      puts them together, and checks what must hold

Everything happens in one thread and in an order that the seed decides, so a failing seed fails again in the same way.
"""
