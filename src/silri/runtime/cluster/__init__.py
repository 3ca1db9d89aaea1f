"""Robots and a learner in processes and machines of their own; Ray is the wire between them.

::

    learner's machine                             robot's machine
    supervisor ─┬─ learner                        supervisor ─┬─ control loop, owns the robot
                └─ link ── Ray head ── hub ═══════════════════╪═ uplink
                                          Ray client, one port└─ spool, on the robot's disk

Every box is a plain process that may die at any moment and is started again by its supervisor.
What they share lies on disk: the learner and the hub (the store's single writer) share the run
folder, the control loop and the uplink share the spool. So Ray may die, hang or be cut off, and
the learner and the control loop notice no more than missing episodes and older parameters.
"""
