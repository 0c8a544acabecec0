"""What pyproject.toml cannot say beside finding packages: the scripts of experiments/ are one, too,
so that a wheel has them; `python -m repflow_pl.scripts` runs them there."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[
        # Folders of data are packages to setuptools, too.
        *find_namespace_packages(include=["repflow_pl*"], exclude=["*.__pycache__"]),
        "repflow_pl.experiments",
        "repflow_pl.experiments.bench",
    ],
    package_dir={"repflow_pl.experiments": "experiments"},
)
