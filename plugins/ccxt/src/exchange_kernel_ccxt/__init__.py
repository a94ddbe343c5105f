"""What every venue that trades through ccxt needs: exact requests, verdicts, budgets and streams, of no one exchange."""
