"""The same requests at every place that could serve them: what each would cost, and make wait."""
