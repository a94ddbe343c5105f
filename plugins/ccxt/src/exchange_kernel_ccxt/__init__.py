"""What every venue that trades through ccxt needs: exact requests, verdicts, budgets, streams; of no one exchange."""
