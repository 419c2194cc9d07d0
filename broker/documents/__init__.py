"""What is printed or sent as a document. It knows the domain only."""
