"""The spot account: its markets, its orders, and what Binance says of them."""
