"""What a clinic knows about its imaging work: plain values and rules, without database, network or clock."""
