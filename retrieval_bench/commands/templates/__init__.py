"""What `new` writes: for each kind of part a small real one and its tests, with ``part_name`` and ``PartName`` to be
replaced. They are ordinary modules, so that they are linted and type-checked like everything else."""
