"""Copies of the repository for tests that run DVC, so that the real one stays as it is."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
#: What is not part of the repository, where git cannot be asked because there is no ``.git``.
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", "data", "models", "predictions", "reports", "results", "figures", "cache", "tmp", "config.local",
    "__pycache__", "*.egg-info", ".pytest_cache", ".ruff_cache",
)  # fmt: skip


def copy_repository(target: Path) -> Path:
    """Copy tracked and untracked files, but no ignored one: no data, no cache, no environment."""
    if not (REPOSITORY / ".git").exists():
        return Path(shutil.copytree(REPOSITORY, target, ignore=_ignored))
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if (REPOSITORY / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name)
    return target


def _ignored(folder: str, names: list[str]) -> set[str]:
    """Ignore at the root and in ``.dvc`` only: ``iqagpt/data`` belongs to the repository."""
    ignored = NOT_COPIED(folder, names)
    below_root = Path(folder).resolve() not in (REPOSITORY, REPOSITORY / ".dvc")
    return {name for name in ignored if not below_root or name == "__pycache__"}


@dataclass(frozen=True)
class Workspace:
    """A copy of the repository in which DVC may run."""

    path: Path

    def environment(self) -> dict[str, str]:
        """Put this interpreter's ``dvc`` and ``python`` first, and keep git and DVC to themselves."""
        dropped = ("PYTHONPATH", "VIRTUAL_ENV", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "OPENAI_API_KEY")
        kept = {key: value for key, value in os.environ.items() if key not in dropped and not key.startswith("DVC_")}
        author = {
            f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        return kept | author | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "DVC_NO_ANALYTICS": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "DVC_GLOBAL_CONFIG_DIR": str(self.path / ".dvc/tmp/no-global"),
            "DVC_SYSTEM_CONFIG_DIR": str(self.path / ".dvc/tmp/no-system"),
            "DVC_SITE_CACHE_DIR": str(self.path / ".dvc/tmp/site"),
            # Threads that wait without spinning: the same results, and three times as fast on a busy machine.
            "OMP_WAIT_POLICY": "PASSIVE",
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip

    def run(self, *command: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a command here; stdout and stderr come back together."""
        return subprocess.run(
            command, cwd=self.path, env=self.environment(), text=True, timeout=timeout, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def start(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a command here in a process group of its own, its output in a file."""
        with log.open("wb") as output:
            return subprocess.Popen(
                command, cwd=self.path, env=self.environment(), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def check(self, *command: str, timeout: float = 600) -> str:
        """Run a command that must succeed; return its output."""
        result = self.run(*command, timeout=timeout)
        assert result.returncode == 0, f"{' '.join(command)} failed:\n{result.stdout[-6000:]}"
        return result.stdout

    def commit(self) -> None:
        """Make the folder a git repository with one commit."""
        self.check("git", "init", "--quiet")
        self.check("git", "add", "--all")
        self.check("git", "commit", "--quiet", "--message", "State under test")

    def params(self) -> dict[str, Any]:
        """Read ``params.yaml``."""
        return read_yaml(self.path / "params.yaml")

    def set_params(self, **leaves: Any) -> None:
        """Write values into ``params.yaml``, given as ``train__lr=1.0``."""
        params = self.params()
        for name, value in leaves.items():
            *parents, leaf = name.split("__")
            node = params
            for parent in parents:
                node = node[parent]
            node[leaf] = value
        (self.path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def read_yaml(path: Path) -> dict[str, Any]:
    """Parse a YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def leaves(node: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield key path and value of each leaf; a list is a leaf."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*prefix, key))
    else:
        yield prefix, node
