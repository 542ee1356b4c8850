"""Keep-warm policies: objects without I/O, driven by the live gateway and by the simulator."""
