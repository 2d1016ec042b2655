"""Programs: SC-NIR documents (``spec``), their meaning (``interpret``), their extremes (``bounds``), their timing."""
