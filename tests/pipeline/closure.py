"""Which files of the repository a stage imports, and the ``deps`` of ``dvc.yaml`` and ``study/dvc.yaml`` that follow from it.

DVC does not see Python imports (dvc#9195), so each stage lists the modules it runs. Command:
``python tests/pipeline/closure.py --write`` rewrites the code entries of every stage's ``deps`` (those that
begin with ``iqagpt/`` or ``stages/``); without ``--write`` it prints the stages whose entries are out of date.
"""

import argparse
import ast
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from ruamel.yaml import YAML

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("iqagpt", "stages")
#: The pipeline, and that of a user's reader study, whose stages run the same commands.
PIPELINES = ("dvc.yaml", "study/dvc.yaml")
CODE = tuple(f"{package}/" for package in PACKAGES)
#: Files that a package carries beside its modules and reads when it runs.
CARRIED = (".css", ".js")


@dataclass(frozen=True)
class Family:
    """A stage with items (``foreach`` or ``matrix``), each with a module of its own, imported by name."""

    variable: str
    folder: str
    section: str

    @property
    def template(self) -> str:
        """The item's own module as ``dvc.yaml`` writes it."""
        return f"{self.folder}/${{{self.variable}}}.py"

    def template_in(self, pipeline: str) -> str:
        """The same in one of `PIPELINES`: a study's baselines have the item ``method`` beside name and fold."""
        return self.template if pipeline == PIPELINES[0] else f"{self.folder}/${{item.method}}.py"

    def module(self, item: str) -> str:
        """The own module of one item."""
        return f"{self.folder}/{item}.py"

    def items(self, root: Path = REPOSITORY) -> list[str]:
        """Every item with parameters, enabled or not."""
        params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
        return sorted(params[self.section])


FAMILIES = {
    "denoisers": Family("key", "iqagpt/denoise", "denoisers"),
    "baseline": Family("item.name", "iqagpt/baselines", "baseline"),
}


def closure(entry: str, root: Path = REPOSITORY) -> set[str]:
    """Follow imports from one file, those inside functions and those of package ``__init__`` files included.

    Parameters
    ----------
    entry : str
        A file such as ``stages/ingest.py``, relative to `root`.

    Returns
    -------
    set of str
        Paths relative to `root`, `entry` itself included.
    """
    found: set[str] = set()
    waiting = [entry, *_package_files(entry, root)]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting.extend(_imported_files(file, root))
    return found


def stage_closure(stage: str, item: str | None = None, root: Path = REPOSITORY) -> set[str]:
    """Collect the files that one stage runs; `item` picks one of a family's."""
    files = closure(f"stages/{stage}.py", root)
    return files | closure(FAMILIES[stage].module(item), root) if item else files


def code_deps(stage: str, root: Path = REPOSITORY, pipeline: str = PIPELINES[0]) -> list[str]:
    """List the code entries that ``dvc.yaml`` should have for a stage, sorted.

    Items of one stage share their list but for their own module, so each lists what any of them imports.
    """
    files = stage_closure(stage, root=root)
    family = FAMILIES.get(stage)
    if family is None:
        return sorted(files)
    for item in family.items(root):
        files |= closure(family.module(item), root)
    own = {family.module(item) for item in family.items(root)}
    return sorted((files - own) | {family.template_in(pipeline)})


def dynamic_imports(file: str, root: Path = REPOSITORY) -> list[str]:
    """Show what a file imports by ``import_module`` or ``__import__``, which `closure` cannot follow."""
    return [
        ast.unparse(node.args[0])
        for node in ast.walk(_parse(root / file))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("importlib.import_module", "import_module", "__import__")
    ]


@cache
def _imported_files(file: str, root: Path) -> frozenset[str]:
    modules = {name for node in _executed(_parse(root / file)) for name in _module_names(node, file)}
    return frozenset(path for module in modules for path in _module_files(module, root))


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree without the bodies of ``if TYPE_CHECKING``, which never run."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for branch in child.orelse:
                yield from _executed(branch)
        else:
            yield from _executed(child)


def _module_names(node: ast.AST, file: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parents = Path(file).parts[: -node.level]
            base = ".".join([*parents, base] if base else parents)
        yield base
        # `from package import name`: the name may be a module.
        yield from (f"{base}.{alias.name}" for alias in node.names)


def _module_files(module: str, root: Path) -> Iterator[str]:
    parts = module.split(".")
    if parts[0] not in PACKAGES:
        return
    for candidate in ("/".join(parts) + ".py", "/".join(parts) + "/__init__.py"):
        if (root / candidate).is_file():
            yield candidate
    yield from _package_files("/".join(parts), root)


def _package_files(path: str, root: Path) -> Iterator[str]:
    """Yield the ``__init__.py`` of each package above a file, which importing it runs, and what the package carries."""
    for parent in Path(path).parents:
        init = (parent / "__init__.py").as_posix()
        if parent != Path() and (root / init).is_file():
            yield init
            yield from (
                file.relative_to(root).as_posix() for file in (root / parent).iterdir() if file.suffix in CARRIED
            )


@cache
def _parse(path: Path) -> ast.Module:
    if path.suffix in CARRIED:
        return ast.Module([], [])
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def rewrite(text: str, root: Path = REPOSITORY, pipeline: str = PIPELINES[0]) -> str:
    """Return the text of one of `PIPELINES` with the code entries of all ``deps`` replaced, the rest as it was."""
    parser = YAML()
    parser.preserve_quotes = True
    parser.width = sys.maxsize
    content = parser.load(text)
    for name, node in content["stages"].items():
        body = node.get("do", node)
        deps = body["deps"]
        data = [entry for entry in deps if not str(entry).startswith(CODE)]
        deps[:] = [*code_deps(name, root, pipeline), *data]
    stream = io.StringIO()
    parser.dump(content, stream)
    return stream.getvalue()


def _main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--write", action="store_true", help="rewrite dvc.yaml")
    options = arguments.parse_args()
    results = [_bring_up_to_date(pipeline, write=options.write) for pipeline in PIPELINES]
    return max(results)


def _bring_up_to_date(pipeline: str, *, write: bool) -> int:
    file = REPOSITORY / pipeline
    before = file.read_text(encoding="utf-8")
    after = rewrite(before, pipeline=pipeline)
    if after == before:
        return 0
    if write:
        file.write_text(after, encoding="utf-8", newline="\n")
        return 0
    stages = yaml.safe_load(before)["stages"], yaml.safe_load(after)["stages"]
    changed = [name for name in stages[1] if stages[0][name] != stages[1][name]]
    print(f"{pipeline}: out of date:", ", ".join(changed) or "layout only")
    return 1


if __name__ == "__main__":
    sys.exit(_main())
