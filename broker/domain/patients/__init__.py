"""Who somebody is: names and numbers, what makes two descriptions one person, and the merge of two cards."""
