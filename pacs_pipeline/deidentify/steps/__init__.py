"""What is done with one element: a step for each action of PS3.15 E.1 and for each kind of value."""
