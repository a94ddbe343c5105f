"""USD-M futures: their contracts, orders and positions, and what Binance says of them."""
