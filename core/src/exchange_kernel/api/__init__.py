"""The kernels over HTTP: declarative orders, queries, events that resume, and who may do what."""
