"""Cross and isolated margin wallets: spot's books, by endpoints of their own."""
