"""Ethereum for on-chain venues: nodes, keys, transactions, fees, tokens, finality; nothing of any one exchange."""
