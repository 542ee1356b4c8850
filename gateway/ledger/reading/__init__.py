"""What other rooms have to know of the record. Reads only."""
