"""The verbs: one function = one use case = one transaction. They check, change, audit and queue, or change nothing."""
