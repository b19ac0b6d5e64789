"""Networks side by side: what each costs, how fast it is, and how well it learns."""
