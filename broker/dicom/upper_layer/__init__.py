"""The acceptor's side of the upper layer protocol (PS3.8) and of DIMSE (PS3.7) on asyncio; knows no service."""
