"""Act one: the column in which a teacher is opened and a run is planned."""
