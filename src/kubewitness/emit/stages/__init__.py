"""A request becomes Events: life cycle, what each level keeps, and the driver that ties them to a policy and a Sink."""
