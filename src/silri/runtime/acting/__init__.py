"""Episodes: the loop, the owner of a robot, and what may go wrong meanwhile."""
