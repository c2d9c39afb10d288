"""The compilers: which they are, how long they may work, what they made."""
