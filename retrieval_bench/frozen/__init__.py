"""What a frozen backbone gives, computed once, stored, and used by every run on the same backbone."""
