"""What keep-warm policies and routing would have done with a trace, on a virtual clock."""
