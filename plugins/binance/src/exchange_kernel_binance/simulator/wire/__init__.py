"""The protocol: what a request must look like, who may send it, and how answers and events travel."""
