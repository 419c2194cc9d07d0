"""«Решаем вместе»: two readers who differ decide at one screen, or each at their own."""
