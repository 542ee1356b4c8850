"""Pure folds from what happened to what it means: seconds, verdicts, counts, money. No I/O."""
