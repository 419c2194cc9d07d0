"""The commands of `worklist-broker`: one file for each group, which registers its arguments beside what it does."""
