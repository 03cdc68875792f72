"""What flows: Event, Level, Stage; fields, filter; recognising and splitting bytes; Sink and Source."""
