"""Hosts: the processes in which targets are called, and the bytes that pass between them and whoever judges.

A host has one target, or the targets of one file, and a small caller; it has no check and no truth, and does not know
which check is being made. Arguments and answers cross as raw bytes after a fixed header (`wire`, `messages`): nothing
that a host writes is unpickled or evaluated, and what it writes is read with suspicion.

    who judges                          the host
    remote.Remote       -- calls -->    service.serve, guard.Guard, targets.caller
    process.HostProcess <-- answers --  the target
"""
