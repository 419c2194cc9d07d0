"""What the desk's form is used for: what it contains at first, which use case saves it, which page follows."""
