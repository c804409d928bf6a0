"""What runs the jobs of a study: processes of this machine, Ray, or SLURM."""
