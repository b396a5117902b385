"""The whole story on real digits, step by step."""
