"""A folder or table of recorded words to clips with labels, speakers and splits."""
