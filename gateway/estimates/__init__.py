"""What would be: arithmetic about models on hardware that was never measured here. Pure, no I/O.

``gateway/accounting`` books what happened; nothing from this folder is ever booked.
"""
