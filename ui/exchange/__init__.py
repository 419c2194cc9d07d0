"""«Обмен»: the messages of both directions, and one message with its attempts."""
